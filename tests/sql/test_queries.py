"""Queries: they pass the guard, refuse what they do not know, and find planted answers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake import sql
from actlake.storage.errors import QueryError
from actlake.storage.guard import check_select
from actlake.storage.lake import Lake
from tests.sql.conftest import ask, column, similarity, write
from tests.sql.tiny import (
    CAT,
    CODES,
    DENSE,
    DOCUMENT_CODES,
    KEPT,
    LONE,
    N_FEATURES,
    ROWS,
    SPECIAL,
    START,
    TEXTS,
    THE,
    WORDS,
)


def header(text: str, field: str) -> str:
    found = re.search(f"^-- {field}: *(.*)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", sql.names("queries"))
def test_query__passes_the_guard_and_names_its_parameters(name: str) -> None:
    text = sql.text("queries", name)
    check_select(text)
    code = re.sub(r"--[^\n]*|'[^']*'", "", text)
    assert set(re.findall(r"\$\w+", code)) == set(re.findall(r"\$\w+", header(text, "in")))
    assert re.search(r"\bORDER BY\b", code)


@pytest.mark.parametrize(
    "name", [name for name in sql.names("queries") if "$codes" in sql.text("queries", name)]
)
def test_query__of_unknown_codes_is_empty(name: str, tiny: Lake) -> None:
    given = {
        "codes": "none",
        "mask": "all",
        "feature": 0,
        "limit": 3,
        "by": "max" if name == "features_of_document" else "density",
        "order": "asc",
        "before": 1,
        "after": 1,
        "text": "the",
        "document": 0,
        "label": "party",
        "others": "none",
        "q": 0.05,
        "a": "red",
        "b": "blue",
        "least": 0.5,
        "level": "token",
        "value": "red",
        "kind": "top",
        "token_set": "space",
        "other": 1,
        "first": 0,
        "last": 3,
        "method": "activation",
        "score": 0.3,
    }
    wanted = set(re.findall(r"\$(\w+)", header(sql.text("queries", name), "in")))
    assert ask(tiny, name, **{key: given[key] for key in wanted}) == []


def test_top_features__ranks_by_the_column_and_direction(tiny: Lake) -> None:
    given: dict[str, Any] = {"codes": CODES, "mask": "all", "limit": 10}
    strongest = DENSE.max(axis=0)
    firing = [feature for feature in range(N_FEATURES) if strongest[feature] > 0]

    found = ask(tiny, "top_features", by="max_active", order="desc", **given)
    expected = sorted(firing, key=lambda feature: (-strongest[feature], feature))
    # The dead feature has no maximum and comes last, whichever way.
    assert column(found, "feature")[:-1] == expected
    assert column(found, "by_value")[:-1] == [strongest[feature] for feature in expected]
    assert found[-1]["by_value"] is None

    found = ask(tiny, "top_features", by="max_active", order="asc", **given)
    expected = sorted(firing, key=lambda feature: (strongest[feature], feature))
    assert column(found, "feature")[:-1] == expected
    assert found[-1]["by_value"] is None


def test_top_features__stops_at_the_limit_and_keeps_masks_apart(tiny: Lake) -> None:
    given: dict[str, Any] = {"codes": CODES, "by": "n_fires", "order": "desc", "limit": 2}
    found = ask(tiny, "top_features", mask="all", **given)
    assert column(found, "feature") == [WORDS, SPECIAL]
    found = ask(tiny, "top_features", mask="no_special", **given)
    assert column(found, "feature") == [WORDS, THE]


def test_top_features__takes_every_numeric_column_of_the_summary(tiny: Lake) -> None:
    select = "SELECT * FROM feature_summary WHERE codes = $codes AND mask = 'all'"
    table = tiny.sql(select, codes=CODES).arrow()
    summary = table.to_pylist()
    numeric = [field.name for field in table.schema if str(field.type) in ("double", "int64")]
    for by in set(numeric) - {"n_rows", "log10_density", "n_sources"}:
        found = ask(tiny, "top_features", codes=CODES, mask="all", by=by, order="asc", limit=99)
        ranked = {row["feature"]: row["by_value"] for row in found}
        assert ranked == {row["feature"]: row[by] for row in summary}, by


@pytest.mark.parametrize("codes", [CODES, "none"])
@pytest.mark.parametrize(
    ("by", "order", "message"),
    [
        ("beauty", "asc", "cannot rank features by beauty; .by is n_fires, density"),
        ("density; DROP TABLE codes", "asc", "cannot rank features by density; DROP"),
        ("density", "sideways", "cannot order sideways; .order is asc or desc"),
    ],
)
def test_top_features__refuses_what_it_does_not_know(
    codes: str, by: str, order: str, message: str, tiny: Lake
) -> None:
    with pytest.raises(QueryError, match=message):
        ask(tiny, "top_features", codes=codes, mask="all", by=by, order=order, limit=3)


def naive_context(row: int, before: int, after: int) -> tuple[str, str, str]:
    """Text before, of and after a row, joined from whole tokens."""
    document = ROWS[row][0]
    near = [
        other
        for other in range(max(0, row - before), min(len(ROWS), row + after + 1))
        if ROWS[other][0] == document and ROWS[other][3] > ROWS[other][2]
    ]
    spans = sorted({ROWS[other][2:] for other in near})
    own = ROWS[row][2:]
    text = TEXTS[document]
    left = "".join(text[a:b] for a, b in spans if own[1] > own[0] and b <= own[0])
    right = "".join(text[a:b] for a, b in spans if own[1] == own[0] or a >= own[1])
    return left, ROWS[row][1], right


@pytest.mark.parametrize("feature", [THE, CAT, LONE, WORDS, SPECIAL])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 1), (50, 50)])
def test_contexts_of_feature__shows_the_strongest_rows_in_their_text(
    feature: int, before: int, after: int, tiny: Lake
) -> None:
    found = ask(
        tiny,
        "contexts_of_feature",
        kind="top",
        codes=CODES,
        mask="all",
        feature=feature,
        limit=KEPT,
        before=before,
        after=after,
    )
    strongest = np.argsort(-DENSE[:, feature])[: min(KEPT, np.count_nonzero(DENSE[:, feature]))]
    assert column(found, "row") == strongest.tolist()
    assert column(found, "rank") == list(range(1, len(found) + 1))
    assert column(found, "value") == DENSE[strongest, feature].tolist()
    for one in found:
        shown = one["before"], one["token"], one["after"]
        assert shown == naive_context(one["row"], before, after)
        assert one["source_id"] == f"doc-{one['document']}"


def test_contexts_of_feature__agrees_with_the_lakes_own(tiny: Lake) -> None:
    for feature in (THE, CAT, LONE, WORDS):
        found = ask(
            tiny,
            "contexts_of_feature",
            kind="top",
            codes=CODES,
            mask="all",
            feature=feature,
            limit=KEPT,
            before=2,
            after=2,
        )
        others = tiny.contexts(CODES, feature, limit=KEPT, before=2, after=2)
        texts = [(one["row"], one["before"] + one["token"] + one["after"]) for one in found]
        assert texts == [(one.row, one.text) for one in others]


def test_contexts_of_feature__of_documents_is_the_document(tiny: Lake) -> None:
    found = ask(
        tiny,
        "contexts_of_feature",
        kind="top",
        codes=DOCUMENT_CODES,
        mask="all",
        feature=0,
        limit=2,
        before=3,
        after=3,
    )
    assert column(found, "token") == [TEXTS[3], TEXTS[1]]
    assert {one["before"] + one["after"] for one in found} == {""}


def test_features_of_token__finds_it_with_and_without_its_space(tiny: Lake) -> None:
    found = ask(tiny, "features_of_token", codes=CODES, mask="all", text="cat")
    assert found == ask(tiny, "features_of_token", codes=CODES, mask="all", text=" cat")
    assert column(found, "feature") == [CAT, WORDS]
    cat, words = found
    assert (cat["count"], cat["share"], cat["lift"]) == (2, 1.0, len(ROWS) / 2)
    assert cat["count_rank"] == cat["lift_rank"] == 1
    fires = np.flatnonzero(DENSE[:, CAT])
    assert cat["mean"] == DENSE[fires, CAT].mean()
    assert words["share"] == pytest.approx(2 / np.count_nonzero(DENSE[:, WORDS]))
    assert (words["count_rank"], words["token"]) == (1, " cat") or words["count_rank"] == 2

    (special,) = ask(tiny, "features_of_token", codes=CODES, mask="all", text=START)
    assert (special["feature"], special["share"]) == (SPECIAL, 1.0)
    assert ask(tiny, "features_of_token", codes=CODES, mask="no_special", text=START) == []

    both = ask(tiny, "features_of_token", codes=CODES, mask="all", text="the")
    assert {one["token"] for one in both} == {"the", " the"}
    exact = ask(tiny, "features_of_token", codes=CODES, mask="all", text=" the")
    assert {one["token"] for one in exact} == {" the"}


def test_matches_of_feature__shows_the_mask_that_was_asked_for(copied: Lake) -> None:
    match = {
        "codes_a": CODES,
        "feature_a": SPECIAL,
        "codes_b": DOCUMENT_CODES,
        "feature_b": 0,
        "method": "activation",
        "best_of": "a",
        "score": 0.5,
        "is_mutual": False,
        "run": "",
    }
    write(copied, {"feature_matches": [match | {"mask": mask} for mask in ("all", "no_special")]})
    asked = {"codes": CODES, "feature": SPECIAL, "limit": 2}
    (found,) = ask(copied, "matches_of_feature", mask="all", **asked)
    assert len(found["contexts"]) == 2
    # Under the other mask the feature never fires, so there is nothing to show.
    (found,) = ask(copied, "matches_of_feature", mask="no_special", **asked)
    assert found["contexts"] is None
    # Codes of documents are summarized under `all` alone, which is then shown.
    assert len(found["other_contexts"]) == 2


def test_changes_between__tells_what_a_killed_run_committed(copied: Lake) -> None:
    before = copied.newest_snapshot()
    write(copied, {"similarities": [similarity("x", "y", p=0.5)]}, "killed")
    newest = copied.newest_snapshot()
    changes = ask(copied, "changes_between", first=before, last=newest)
    assert column(changes, "kind") == ["similarities"]
    lose = "UPDATE runs SET state = 'crashed', snapshot_after = NULL WHERE run = $run"
    copied._catalog.commit(lambda now: now.execute(lose, run=changes[0]["run"]), "killed")
    (found,) = ask(copied, "changes_between", first=before, last=newest)
    assert (found["state"], found["snapshot_after"]) == ("crashed", None)
    assert ask(copied, "changes_between", first=0, last=before - 1) != []
    assert "crashed" not in column(
        ask(copied, "changes_between", first=0, last=before - 1), "state"
    )


def test_readme__lists_every_view_query_and_check() -> None:
    text = (Path(__file__).parents[2] / "sql" / "README.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    kinds: tuple[sql.Kind, ...] = ("views", "queries", "checks")
    assert listed == [name for kind in kinds for name in sql.names(kind)]
