"""Faults in names, keys and runs, for test_checks.

By check: a statement that breaks the sound lake, the owner that the check names, and part of what
it says.
"""

from tests.sql.tiny import CODES

FINDINGS = {
    "comparisons": "'gone', 'gone', 'gone', 'x', 1, 1, 1.0, 1.0, 1.0, 2, 1, 1, 1, 1, 'gone'",
    "feature_matches": "'gone', 1, 'gone', 2, 'gone', 'x', 'a', 0.5, NULL, 9, 9, 0.1, 0.2, 0.5, "
    "0.5, false, 'gone'",
    "similarities": "'gone', 'gone', 'gone', 'x', 0.5, 0.0, 0.5, 1.0, 9, 2, 1.0, 1, 0.5, 0.5, "
    "'gone'",
    "hypotheses": "'gone', 'year', '', 'gone', 'gone', 'max', 1, 'correlation', 'it goes', "
    "'holdout', 0.1, 0.1, 0.1, 0.0, 0.2, 9, 2, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 1",
}
"""A row of each table of findings, which names nothing that there is."""

RECORDS = {
    "feature_pairs": "'gone', 'gone', 'token', 1, 1, 2, 9, 3, 3, 2, 1.0, 1.0, 1.0, 1.0, 1.0, NULL, "
    "NULL, NULL, 0.5, 0.5, 1, 'gone'",
    "feature_families": "'gone', 'gone', 'token', 0, 1, 1, NULL, 0, 9, NULL, 'gone'",
    "feature_labels": "'gone', 'gone', 'party', 'red', '', '', 'document', 'max', 1, 2, 2, 1, 1, "
    "1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.0, 0.5, 1.0, 0.6, 0, 0, 1.0, 1.0, 1, 'gone', "
    "1.0, 1.0, 0.0, 0.0",
    "feature_changes": "'gone', 'gone', 'gone', 1, 9, 9, 3, 3, 3, 3, 1, 1, 0.0, 0.1, 1.0, 1.0, 1, "
    "'gone'",
}
"""A row of each table about pairs and labels, which names nothing that there is."""

FAULTS_OF_NAMES: dict[str, list[tuple[str, str, str]]] = {
    "keys_stored_twice": [
        (f"INSERT INTO {name} FROM {name} LIMIT 1", owner, f"1 keys have several rows in {name}")
        for name, owner in {
            "feature_statistics": CODES,
            "feature_profiles": CODES,
            "feature_histograms": CODES,
            "feature_positions": CODES,
            "features": "topk:toy:resid",
            "feature_neighbours": "topk:toy:resid",
            "feature_logits": "topk:toy:resid",
            "feature_token_sets": "topk:toy:resid",
            "feature_examples": CODES,
            "feature_tokens": CODES,
            "evaluations": "topk:toy:resid",
            "vocabulary": "words",
        }.items()
    ]
    + [
        (
            "INSERT INTO partials SELECT 'c', 'all', 'moments', 0, '1', path, 1, '', '' "
            "FROM (VALUES ('a'), ('b')) AS files (path)",
            "c",
            "in partials",
        ),
        (
            "INSERT INTO training_logs SELECT 'd', 10, 100, 'loss', value, '' "
            "FROM (VALUES (1.0), (2.0)) AS losses (value)",
            "d",
            "in training_logs",
        ),
        (
            "INSERT INTO training_shards VALUES ('d', 3, 10, 0, ''), ('d', 3, 20, 1, '')",
            "d",
            "in training_shards",
        ),
        *(
            (f"INSERT INTO codes_sets VALUES ('s', 'all', 1, 'c', ''), {again}", "s", "codes_sets")
            for again in ("('s', 'all', 1, 'other', '')", "('s', 'all', 2, 'c', '')")
        ),
        *(
            (f"INSERT INTO {name} VALUES ({row}), ({row})", "gone", f"several rows in {name}")
            for name, row in FINDINGS.items()
            if name != "comparisons"
        ),
        *(
            (f"INSERT INTO {name} VALUES ({row}), ({row})", "gone", f"several rows in {name}")
            for name, row in RECORDS.items()
        ),
    ],
    "names_taken_twice": [
        (
            f"INSERT INTO {name} FROM {name} WHERE {column} = '{owner}'",
            owner,
            f"stands for 2 things as a {kind}",
        )
        for name, column, kind, owner in (
            ("models", "model", "model", "toy"),
            ("corpora", "corpus", "corpus", "tiny"),
            ("rowsets", "rowset", "rowset", "tiny@words"),
            ("tensors", "tensor", "tensor", "toy:resid@tiny"),
            ("dictionaries", "dictionary", "dictionary", "topk:toy:resid"),
            ("codes", "codes", "codes", CODES),
            ("masks", "mask", "mask", "not_first"),
        )
    ]
    + [
        ("UPDATE tensors SET id = 'same'", "same", "2 things as a id"),
        (
            f"INSERT INTO codes_sets VALUES ('{CODES}', 'all', 1, '{CODES}', '')",
            CODES,
            "stands for 2 things as a codes",
        ),
        ("UPDATE runs SET run = 'same'", "same", "8 things as a run"),
    ],
    "references_dangling": [
        (f"UPDATE {name} SET {column} = 'gone'", owner, f"{name} name the {kind} gone, which")
        for name, column, kind, owner in (
            ("documents", "corpus", "corpus", "gone"),
            ("labels", "corpus", "corpus", "gone"),
            ("rowsets", "corpus", "corpus", "tiny@words"),
            ("tokens", "rowset", "rowset", "gone"),
            ("tensors", "rowset", "rowset", "toy:resid@tiny"),
            ("dictionaries", "tensor", "tensor", "topk:toy:resid"),
            ("codes", "dictionary", "dictionary", CODES),
            ("codes", "tensor", "tensor", CODES),
            ("codes", "rowset", "rowset", CODES),
            ("postings", "codes", "codes", "gone"),
            ("feature_statistics", "codes", "codes", "gone"),
            ("feature_statistics", "mask", "mask", CODES),
            ("feature_histograms", "codes", "codes", "gone"),
            ("feature_histograms", "mask", "mask", CODES),
            ("feature_examples", "codes", "codes", "gone"),
            ("feature_examples", "mask", "mask", CODES),
            ("feature_tokens", "codes", "codes", "gone"),
            ("feature_tokens", "mask", "mask", CODES),
            ("evaluations", "dictionary", "dictionary", "gone"),
            ("evaluations", "tensor", "tensor", "topk:toy:resid"),
            ("evaluations", "mask", "mask", "topk:toy:resid"),
        )
    ]
    + [
        (
            "UPDATE tensors SET model = 'gone', side = 'output'",
            "toy:resid@tiny",
            "tensors name the model gone",
        ),
        (
            "INSERT INTO partials VALUES ('gone', 'gone', 'moments', 0, '1', '', 1, '', '')",
            "gone",
            "partials name the codes gone",
        ),
        (
            "INSERT INTO partials VALUES ('gone', 'gone', 'moments', 0, '1', '', 1, '', '')",
            "gone",
            "partials name the mask gone",
        ),
        (
            "INSERT INTO training_logs VALUES ('gone', 10, 100, 'loss', 1.0, '')",
            "gone",
            "training_logs name the dictionary gone",
        ),
        (
            "INSERT INTO training_shards VALUES ('gone', 0, 10, 0, '')",
            "gone",
            "training_shards name the dictionary gone",
        ),
        *(
            (
                "INSERT INTO codes_sets VALUES ('s', 'gone', 1, 'gone', '')",
                "s",
                f"codes_sets name the {kind} gone",
            )
            for kind in ("codes", "mask")
        ),
        (
            "UPDATE feature_examples SET member = 'gone'",
            CODES,
            "feature_examples name the codes gone",
        ),
        *(
            (
                f"INSERT INTO {name} VALUES ({FINDINGS[name]})",
                "gone with gone" if name != "hypotheses" else "gone",
                f"{name} name the {kind} gone",
            )
            for name, kind in (
                ("comparisons", "codes"),
                ("comparisons", "mask"),
                ("similarities", "tensor"),
                ("similarities", "mask"),
                ("hypotheses", "codes"),
                ("hypotheses", "mask"),
            )
        ),
    ]
    + [
        (
            f"INSERT INTO {name} VALUES ({row})",
            "gone with gone" if name == "feature_changes" else "gone",
            f"{name} name the {kind} gone",
        )
        for name, row in RECORDS.items()
        for kind in ("codes", "mask")
    ],
    "pairs_disagree": [
        (
            f"INSERT INTO feature_pairs VALUES ({RECORDS['feature_pairs'].replace(old, new, 1)})",
            "gone",
            what,
        )
        for old, new, what in (
            (" 3, 3, 2,", " 3, 3, 4,", "more joint firings than firings"),
            ("1.0, NULL", "1.1, NULL", "a sum of products beyond"),
            (" 1, 1, 2,", " 1, 1, 1,", "of a feature with itself"),
            (" 1, 1, 2,", " 1, 2, 2,", "not ranked from 1"),
        )
    ]
    + [
        (
            f"INSERT INTO feature_pairs VALUES ({row}), "
            f"({row.replace(' 1, 1, 2, 9,', ' 2, 1, 1, 8,')})",
            "gone",
            "from one side and another",
        )
        for row in (RECORDS["feature_pairs"],)
    ]
    + [
        (
            "INSERT INTO feature_pairs SELECT codes, mask, 'token', feature, 1, feature + 1, "
            "n_rows, n_fires + 1, 9, 1, 1, 1, 1, 1, 1, NULL, NULL, NULL, 1, 1, 1, run "
            "FROM feature_statistics WHERE feature = 0 AND mask = 'all'",
            CODES,
            "other firings than feature_statistics",
        ),
        (
            "INSERT INTO feature_families VALUES "
            "('gone', 'gone', 'token', 0, 1, 1, 7, 1, 9, 0.5, 'gone')",
            "gone",
            "no member, or is sparser",
        ),
    ],
    "labels_disagree": [
        (
            f"INSERT INTO feature_labels VALUES ({RECORDS['feature_labels'].replace(old, new, 1)})",
            "gone",
            what,
        )
        for old, new, what in (
            (" 2, 2, 1, 1,", " 2, 2, 3, 1,", "more firing units than units"),
            (" 2, 2, 1, 1,", " 2, 0, 1, 0,", "more firing units than units"),
            (" 0, 0, 1.0,", " 1, 2, 1.0,", "more firing units than units"),
            (" 0.5, 0.5,", " 1.5, 0.5,", "outside 0 to 1"),
        )
    ]
    + [
        (
            f"INSERT INTO feature_changes VALUES "
            f"({RECORDS['feature_changes'].replace(old, new, 1)})",
            "gone",
            "count more firing rows than rows",
        )
        for old, new in ((" 3, 3, 1, 1,", " 3, 10, 1, 1,"), (" 0.0, 0.1,", " 0.3, 0.1,"))
    ],
    "runs_disagree": [
        ("UPDATE runs SET run = 'r', ended = NULL", "r", "is completed and has no end"),
        ("UPDATE runs SET run = 'r', ended = '2001-01-01'", "r", "ended before it started"),
        (
            "UPDATE runs SET run = 'r', snapshot_before = 9, snapshot_after = 9",
            "r",
            "wrote snapshot 9, not after 9",
        ),
        ("UPDATE runs SET run = 'r', state = 'lost'", "r", "has the state lost"),
    ],
    "runs_missing": [
        (f"UPDATE {name} SET run = 'gone'", owner, f"rows of {name} were written by run gone")
        for name, owner in {
            "models": "toy",
            "corpora": "tiny",
            "rowsets": "tiny@words",
            "tensors": "toy:resid@tiny",
            "dictionaries": "topk:toy:resid",
            "codes": CODES,
            "feature_statistics": CODES,
            "evaluations": "topk:toy:resid",
        }.items()
    ]
    + [
        ("UPDATE shards SET run = 'gone', owner = 'o'", "o", "rows of shards"),
        (
            "INSERT INTO partials VALUES ('c', 'all', 'moments', 0, '1', '', 1, '', 'gone')",
            "c",
            "rows of partials",
        ),
        (
            "INSERT INTO training_logs VALUES ('d', 10, 100, 'loss', 1.0, 'gone')",
            "d",
            "rows of training_logs",
        ),
        (
            "INSERT INTO training_shards VALUES ('d', 0, 10, 0, 'gone')",
            "d",
            "rows of training_shards",
        ),
        ("INSERT INTO codes_sets VALUES ('s', 'all', 1, 'c', 'gone')", "s", "rows of codes_sets"),
        *(
            (f"INSERT INTO {name} VALUES ({row})", "gone", f"rows of {name}")
            for name, row in (FINDINGS | RECORDS).items()
        ),
    ],
    "withdrawals_held": [
        (
            "INSERT INTO withdrawals SELECT corpus, 1, 'doc-1', now()::TIMESTAMP, 'asked', 1, 2, "
            "'{}', '{}', run || 'z', NULL FROM corpora",
            "tiny, document 1",
            f"was withdrawn and {what} is still there",
        )
        for what in ("its text", "tokens of tiny@words", f"postings of {CODES}")
    ],
}
