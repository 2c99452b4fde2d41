"""Faults in counts, rows and shards, for test_checks.

By check: a statement that breaks the sound lake, the owner that the check names, and part of what
it says.
"""

from tests.sql.tiny import CODES, ROWS

LAST = len(ROWS) - 1
TENSOR = "(SELECT id FROM tensors WHERE tensor = 'toy:resid@tiny')"
CODES_ID = f"(SELECT id FROM codes WHERE codes = '{CODES}')"
ROWSET_ID = "(SELECT id FROM rowsets WHERE rowset = 'tiny@words')"
ALL, CAT = f"{CODES}, mask all", f"codes = '{CODES}' AND mask = 'all' AND feature = 1"
TOP = f"{CAT} AND kind = 'top'"

FAULTS_OF_COUNTS: dict[str, list[tuple[str, str, str]]] = {
    "documents_disagree": [
        ("UPDATE corpora SET documents = 5", "tiny", "has 5 documents and the table has 4"),
        ("DELETE FROM documents WHERE document = 3", "tiny", "has 4 documents and the table has 3"),
        ("UPDATE documents SET document = 1 WHERE document = 2", "tiny", "of which 3 differ"),
        ("UPDATE documents SET document = document + 1", "tiny", "from 1 to 4"),
        ("UPDATE documents SET source_id = 'doc-0'", "tiny", "4 documents and 1 source ids"),
    ],
    "documents_missing": [
        ("UPDATE tokens SET document = 9 WHERE document = 3", "tiny@documents", "the first is 9"),
        ("UPDATE tokens SET document = 9 WHERE document = 3", "tiny@words", "1 documents are not"),
        ("UPDATE labels SET document = 7 WHERE label = 'year'", "tiny, label year", "first is 7"),
    ],
    "examples_disagree": [
        (
            f"UPDATE feature_examples SET value = value / 2 WHERE {TOP} AND rank = 2",
            ALL,
            "1 examples are not postings",
        ),
        (
            f'UPDATE feature_examples SET "row" = 0 WHERE {TOP} AND rank = 2',
            ALL,
            "1 examples are not postings",
        ),
        (
            f"UPDATE feature_examples SET rank = 3 - rank WHERE {TOP}",
            ALL,
            "1 examples are stronger than the one before",
        ),
        (
            f"UPDATE feature_examples SET rank = 3 - rank WHERE {TOP}",
            ALL,
            "1 features have a first example that is not their max_active",
        ),
        (
            f"UPDATE feature_examples SET value = value / 2 WHERE {CAT} AND kind = 'random'",
            ALL,
            "2 examples are not postings",
        ),
        (
            f"UPDATE feature_examples SET kind = 'negative' WHERE {TOP}",
            ALL,
            "2 examples of silence are rows on which the feature fires",
        ),
        (
            f"UPDATE feature_examples SET n_alike = 0 WHERE {TOP}",
            ALL,
            "2 examples are not among the rows alike to them",
        ),
    ],
    "postings_disagree": [
        (
            f"DELETE FROM postings WHERE codes = '{CODES}' AND feature = 1",
            CODES,
            "is sealed with 25 values and has 23 postings",
        ),
        ("INSERT INTO postings FROM postings", CODES, "has 50 postings"),
        ("DELETE FROM postings", CODES, "has 0 postings"),
        ("UPDATE codes SET nnz = NULL", CODES, "no count of values"),
        (
            f'UPDATE postings SET "row" = {LAST + 1} WHERE feature = 2',
            CODES,
            "1 postings name a row",
        ),
        ('UPDATE postings SET "row" = -1 WHERE feature = 2', CODES, "1 postings name a row"),
        ("UPDATE postings SET feature = 6 WHERE feature = 2", CODES, "1 postings name a feature"),
        ("UPDATE postings SET value = 0 WHERE feature = 2", CODES, "1 postings have a value"),
        ("UPDATE postings SET value = 'nan' WHERE feature = 2", CODES, "1 postings have a value"),
        ("UPDATE postings SET value = 'inf' WHERE feature = 2", CODES, "1 postings have a value"),
    ],
    "rows_disagree": [
        ("UPDATE tensors SET rows = 18 WHERE rows = 19", "toy:resid@tiny", "has 18 rows and its"),
        ("UPDATE codes SET rows = 18 WHERE rows = 19", CODES, "has 18 rows and its rowset"),
        (
            f"DELETE FROM shards WHERE owner = {TENSOR} AND shard = 0",
            "toy:resid@tiny",
            "is sealed with 19 rows and its shards hold 17",
        ),
        (f"DELETE FROM shards WHERE owner = {CODES_ID}", CODES, "its shards hold 0"),
    ],
    "shards_committed_twice": [
        (
            "UPDATE shards SET owner = 'o', shard = 3 WHERE \"array\" = 'rows' AND shard < 2",
            "o",
            "shard 3 of rows has 4 receipts",
        ),
    ],
    "shards_missing": [
        (
            f"DELETE FROM shards WHERE owner = {TENSOR} AND shard IN (3, 5)",
            "toy:resid@tiny",
            "2 shards of rows are missing, the first is shard 3",
        ),
        (
            f"DELETE FROM shards WHERE owner = {ROWSET_ID} AND \"array\" = 'token_id'",
            "tiny@words",
            "10 shards of token_id are missing",
        ),
        (
            f"DELETE FROM shards WHERE owner = {CODES_ID} AND \"array\" = 'postings' AND shard = 9",
            CODES,
            "1 shards of postings are missing, the first is shard 9",
        ),
    ],
    "shards_off_grid": [
        (
            f"UPDATE shards SET row_start = 3 WHERE owner = {TENSOR} AND shard = 2",
            "toy:resid@tiny",
            "shard 2 of rows has rows 3 to 6 instead of 4 to 6",
        ),
        (
            f"UPDATE shards SET row_stop = 7 WHERE owner = {TENSOR} AND shard = 2",
            "toy:resid@tiny",
            "shard 2 of rows has rows 4 to 7 instead of 4 to 6",
        ),
        (
            "UPDATE shards SET shard = 4, row_start = 4, row_stop = 4 WHERE shard = 2 AND owner = "
            "(SELECT id FROM tensors WHERE tensor = 'toy:pooled@tiny')",
            "toy:pooled@tiny",
            "is no shard of the grid",
        ),
        (
            f"UPDATE shards SET shard = -1, row_start = -2, row_stop = 0 WHERE owner = {ROWSET_ID} "
            "AND shard = 2 AND \"array\" = 'window'",
            "tiny@words",
            "shard -1 of window has rows -2 to 0 and is no shard of the grid",
        ),
        (
            f"UPDATE shards SET row_stop = 5 WHERE owner = {CODES_ID} AND shard = 2 "
            "AND \"array\" = 'values'",
            CODES,
            "shard 2 of values has rows 4 to 5",
        ),
    ],
    "spans_outside_text": [
        ('UPDATE tokens SET char_stop = 99 WHERE "row" = 2', "tiny@words", "the first is row 2"),
        ('UPDATE tokens SET char_start = -1 WHERE "row" = 2', "tiny@words", "1 rows have"),
        (
            'UPDATE tokens SET char_start = char_stop + 1 WHERE "row" = 2',
            "tiny@words",
            "1 rows have",
        ),
        (
            "UPDATE labels SET char_start = 0 WHERE label = 'year' AND document = 2",
            "tiny, label year",
            "1 spans are not inside their document, the first is of document 2",
        ),
        (
            "UPDATE labels SET char_start = 0, char_stop = 99 WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
        (
            "UPDATE labels SET char_start = 3, char_stop = 2 WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
        (
            "UPDATE labels SET char_start = 0, char_stop = 0 WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
        (
            "UPDATE labels SET char_start = 2, char_stop = 2, value_text = NULL "
            "WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
        (
            "UPDATE labels SET char_start = 0, char_stop = 1, value_text = NULL "
            "WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
    ],
    "statistics_disagree": [
        (
            f"INSERT INTO codes_sets VALUES ('s', 'all', 1, '{CODES}', ''); "
            "INSERT INTO feature_statistics "
            "SELECT * REPLACE ('s' AS codes, n_fires - 1 AS n_fires) FROM feature_statistics "
            f"WHERE codes = '{CODES}' AND mask = 'all' AND n_fires > 1",
            "s, mask all",
            "4 features have n_fires that their postings do not give",
        ),
        (
            "DELETE FROM postings WHERE feature = 2",
            ALL,
            "1 features have n_fires that their postings do not give",
        ),
        (
            # Under another mask fewer rows may fire than there are postings, but never more.
            "DELETE FROM postings WHERE feature = 2",
            f"{CODES}, mask no_special",
            "1 features have n_fires that their postings do not give",
        ),
        (
            f"DELETE FROM feature_statistics WHERE {CAT}",
            ALL,
            "5 features have statistics instead of 6",
        ),
        (
            f"UPDATE feature_statistics SET n_rows = 18 WHERE {CAT}",
            ALL,
            "statistics count 18 to 19 rows, and the codes have 19",
        ),
        (
            "UPDATE feature_statistics SET n_rows = 18 WHERE mask = 'all'",
            ALL,
            "statistics count 18 to 18 rows, and the codes have 19",
        ),
        (
            f"UPDATE feature_statistics SET density = density * 2 WHERE {CAT}",
            ALL,
            "1 features have a density that is not n_fires / n_rows",
        ),
        (
            f"UPDATE feature_statistics SET n_fires = n_fires + 1 WHERE {CAT}",
            ALL,
            "1 features have n_fires that their postings",
        ),
        (
            f"UPDATE feature_histograms SET count = count + 1 WHERE {CAT}",
            ALL,
            "1 features have n_fires that their histogram",
        ),
        (
            f"UPDATE feature_positions SET n_fires = n_fires + 1 WHERE {CAT}",
            ALL,
            "1 features have n_fires that their positions",
        ),
        (
            f"UPDATE feature_statistics SET n_documents_fires = 9 WHERE {CAT}",
            ALL,
            "1 features fire in another number of documents",
        ),
    ],
    "tokens_disagree": [
        (
            "UPDATE rowsets SET rows = 5 WHERE rows = 4",
            "tiny@documents",
            "has 5 rows and tokens has 4",
        ),
        (
            "DELETE FROM tokens WHERE rowset = 'tiny@words'",
            "tiny@words",
            "19 rows and tokens has 0",
        ),
        (
            'UPDATE tokens SET "row" = 3 WHERE "row" = 5',
            "tiny@words",
            "of which 18 differ, from row 0 to 18",
        ),
        (
            'UPDATE tokens SET "row" = "row" + 1 WHERE rowset = \'tiny@words\'',
            "tiny@words",
            "from row 1 to 19",
        ),
        (
            "UPDATE tokens SET \"row\" = NULL WHERE rowset = 'tiny@documents'",
            "tiny@documents",
            "has 4 rows and tokens has 4",
        ),
        (
            'UPDATE tokens SET "row" = -64 WHERE rowset = \'tiny@words\' AND "row" = 0',
            "tiny@words",
            "of which 19 differ, from row -64 to 18",
        ),
    ],
}
