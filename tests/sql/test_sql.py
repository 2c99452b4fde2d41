"""Every SQL file keeps the habits: one statement, a header, upper-case keywords, named columns."""

import re
from pathlib import Path

import duckdb
import pytest

from actlake import sql

ROOT = Path(__file__).parents[2]
FILES = [(kind, name) for kind in sql.KINDS for name in sql.names(kind)]

# Words that are often columns too (rows, value, text, …) are left to the author.
KEYWORDS = frozenset(
    """
    all alter and any as asc asof begin between by case check constraint create cross default
    delete desc describe distinct drop else end escape except exclude exists filter following from
    full group grouping having if ilike in inner insert intersect into is join lateral left like
    limit macro merge natural not null nulls offset on or order outer over partition pivot
    positional preceding primary qualify recursive references returning right rollup select semi
    set sets similar table tablesample temp temporary then transaction unbounded union unique
    unnest unpivot update using view when where window with within
    bigint blob boolean decimal double float hugeint integer real smallint struct timestamp
    timestamptz tinyint ubigint uinteger usmallint utinyint uuid varchar
    """.split()
)
FUNCTIONS_TOO = {"if", "left", "right", "unnest"}


def faults(name: str, text: str) -> list[str]:
    """What keeps ``text`` from being the file ``name``.sql, in words."""
    found = []
    stem = re.sub(r"^\d{4}_", "", name)
    first, _, rest = text.partition("\n")
    if not re.fullmatch(rf"-- {re.escape(stem)}: .*\S", first):
        found.append(f"line 1 is not `-- {stem}: what it returns`")
    header = re.match(r"(?:--.*\n)*", rest)
    for field in ("-- in:  ", "-- out: "):
        if header is None or len(re.findall(f"^{field}\\S", header[0], re.MULTILINE)) != 1:
            found.append(f"the header does not have one line `{field}…`")
    if not text.endswith("\n"):
        found.append("the last line does not end")
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        return [*found, f"does not parse: {error}"]
    if len(statements) != 1:
        found.append(f"{len(statements)} statements instead of one")

    code = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"", " ", text, flags=re.DOTALL)
    lower = {
        word
        for word, call in re.findall(r"(?<![\w$.])([A-Za-z_]\w*)(\s*\()?", code)
        if word != word.upper() and word.lower() in KEYWORDS
        if not (call and word in FUNCTIONS_TOO)
    }
    if lower:
        found.append(f"keywords in lower case: {', '.join(sorted(lower))}")
    if re.search(r"\bSELECT\s+(?:DISTINCT\s+)?(?:\w+\.)?\*", code, re.IGNORECASE):
        found.append("SELECT * hides its columns")
    return found


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_file__keeps_the_habits(kind: sql.Kind, name: str) -> None:
    assert faults(name, sql.text(kind, name)) == []


GOOD = """\
-- dead: features that fire on at most $rate of rows.
-- in:  feature_statistics; $rate double in [0, 1]
-- out: feature, density
SELECT
    feature,
    count(*) AS n,
    first(density) AS "from",
    left(note, 9) AS note
FROM feature_statistics
WHERE density <= $rate AND note <> 'select * from x; --'
GROUP BY feature
ORDER BY feature;
"""


def test_faults__are_none_in_a_good_file() -> None:
    assert faults("dead", GOOD) == []
    assert faults("0007_dead", GOOD) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-- dead: ", "-- alive: "),
        ("-- dead: ", "-- dead:"),
        ("-- in:  ", "-- in: "),
        ("-- out: feature, density\n", ""),
        ("GROUP BY", "GROUP by"),
        ("FROM", "from"),
        ("<= $rate", "in ($rate)"),
        ("ORDER BY feature;", "ORDER BY feature; SELECT 1;"),
        ("ORDER BY feature;\n", "ORDER BY feature;"),
        ("ORDER BY feature;", "ORDER feature;"),
        ("    feature,\n", "    *,\n"),
        ("    feature,\n", "    feature_statistics.*,\n"),
    ],
)
def test_faults__finds_a_planted_fault(old: str, new: str) -> None:
    assert old in GOOD
    assert len(faults("dead", GOOD.replace(old, new))) == 1


def test_names__lists_every_file() -> None:
    on_disk = {f"{file.parent.name}/{file.stem}" for file in (ROOT / "sql").rglob("*.sql")}
    assert {f"{kind}/{name}" for kind, name in FILES} == on_disk


def test_schema__is_numbered_without_gaps_or_repeats() -> None:
    numbers = [int(name[:4]) for name in sql.names("schema")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_text__offers_the_nearest_names() -> None:
    name = sql.names("schema")[0]
    with pytest.raises(KeyError, match=f"did you mean .*{name}"):
        sql.text("schema", name[:-1])


def test_text__refuses_an_unknown_kind() -> None:
    with pytest.raises(KeyError, match="schema, views, queries, checks"):
        sql.names("tables")  # type: ignore[arg-type]  # what a caller without types may do
