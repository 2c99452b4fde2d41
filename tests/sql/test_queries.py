"""Queries: they pass the guard, refuse what they do not know, and find planted answers."""

import re
from typing import Any

import numpy as np
import pytest

from actlake import sql
from actlake.storage.errors import QueryError
from actlake.storage.guard import check_select
from actlake.storage.lake import Lake
from tests.sql.conftest import (
    CAT,
    CODES,
    DENSE,
    DOCUMENT_CODES,
    DOCUMENT_DENSE,
    FAMILY,
    KEPT,
    LONE,
    N_FEATURES,
    ROWS,
    SPECIAL,
    START,
    TEXTS,
    THE,
    WORDS,
    vocabulary,
    write,
)


def ask(lake: Lake, name: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.query(name, **parameters).arrow().to_pylist()
    return found


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


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


def numeric_columns(lake: Lake) -> list[str]:
    described = lake.sql("DESCRIBE feature_summary").arrow().to_pylist()
    kept = [row["column_name"] for row in described if row["column_type"] in ("DOUBLE", "BIGINT")]
    return [name for name in kept if name not in ("n_rows", "log10_density")]


def test_top_features__takes_every_numeric_column_of_the_summary(tiny: Lake) -> None:
    for by in numeric_columns(tiny):
        found = ask(tiny, "top_features", codes=CODES, mask="all", by=by, order="asc", limit=99)
        values = tiny.sql(
            f"SELECT feature, {by} AS value FROM feature_summary "
            "WHERE codes = $codes AND mask = 'all'",
            codes=CODES,
        ).rows()
        assert {row["feature"]: row["by_value"] for row in found} == dict(values), by


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
    right = "".join(text[a:b] for a, b in spans if a >= own[1])
    return left, ROWS[row][1], right


@pytest.mark.parametrize("feature", [THE, CAT, LONE, WORDS, SPECIAL])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 1), (50, 50)])
def test_contexts_of_feature__shows_the_strongest_rows_in_their_text(
    feature: int, before: int, after: int, tiny: Lake
) -> None:
    found = ask(
        tiny,
        "contexts_of_feature",
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

    both = ask(tiny, "features_of_token", codes=CODES, mask="all", text="the")
    assert {one["token"] for one in both} == {"the", " the"}
    exact = ask(tiny, "features_of_token", codes=CODES, mask="all", text=" the")
    assert {one["token"] for one in exact} == {" the"}


@pytest.mark.parametrize("document", range(len(TEXTS)))
def test_features_of_document__ranks_what_fires_in_it(document: int, tiny: Lake) -> None:
    inside = np.array([row[0] == document for row in ROWS])
    block = np.where(inside[:, None], DENSE, 0).astype(float)
    firing = np.flatnonzero(block.max(axis=0))
    measures = {
        "max": block.max(axis=0),
        "sum": block.sum(axis=0),
        "count": (block > 0).sum(axis=0),
    }
    for by, measure in measures.items():
        found = ask(tiny, "features_of_document", codes=CODES, document=document, by=by, limit=99)
        expected = sorted(firing.tolist(), key=lambda feature: (-measure[feature], feature))
        assert column(found, "feature") == expected
        assert column(found, "n_fires") == measures["count"][expected].tolist()
        assert column(found, "max_value") == measures["max"][expected].tolist()
        assert column(found, "sum_value") == measures["sum"][expected].tolist()
        assert column(found, "max_row") == block.argmax(axis=0)[expected].tolist()
        assert column(found, "max_text") == [ROWS[row][1] for row in column(found, "max_row")]
    assert (
        len(ask(tiny, "features_of_document", codes=CODES, document=document, by="max", limit=1))
        == 1
    )


def test_features_of_document__of_equal_values_shows_the_first_row(copied: Lake) -> None:
    equal = [{"codes": "even", "feature": 0, "row": row, "value": 1.0} for row in (3, 1, 2)]
    codes = copied.sql("SELECT * FROM codes WHERE codes = $codes", codes=CODES).arrow().to_pylist()
    write(copied, {"postings": equal, "codes": [codes[0] | {"codes": "even"}]})
    (found,) = ask(copied, "features_of_document", codes="even", document=0, by="max", limit=9)
    assert found["max_row"] == 1


@pytest.mark.parametrize("codes", [CODES, "none"])
def test_features_of_document__refuses_another_measure(codes: str, tiny: Lake) -> None:
    with pytest.raises(QueryError, match=r"cannot rank features by luck; .by is max, sum or count"):
        ask(tiny, "features_of_document", codes=codes, document=0, by="luck", limit=3)


def test_coverage_of_tensor__lists_every_shard(tiny: Lake, copied: Lake) -> None:
    found = ask(tiny, "coverage_of_tensor", tensor="toy:resid@tiny")
    assert column(found, "shard") == list(range(9))
    assert column(found, "row_start") == list(range(0, 18, 2))
    assert column(found, "row_stop") == list(range(2, 20, 2))
    assert all(column(found, "committed"))
    assert sum(column(found, "bytes")) == 9 * (2 * N_FEATURES * 2 + 4)
    assert len(set(column(found, "run"))) == 1

    with copied.run("test", {"key": "lose"}, {}) as run:
        lose = "DELETE FROM shards WHERE shard = 4 AND \"array\" = 'rows'"
        run.commit(lambda one: one.execute(lose), "lose")
    found = ask(copied, "coverage_of_tensor", tensor="toy:resid@tiny")
    (missing,) = [one for one in found if not one["committed"]]
    assert (missing["shard"], missing["row_start"], missing["row_stop"]) == (4, 8, 10)
    assert (missing["bytes"], missing["run"], missing["started"]) == (0, None, None)


def test_coverage_of_tensor__takes_codes_too(tiny: Lake) -> None:
    found = ask(tiny, "coverage_of_tensor", tensor=CODES)
    assert [(one["kind"], one["shard"]) for one in found] == [("codes", at) for at in range(9)]


def test_lineage__goes_from_the_number_to_the_corpus(tiny: Lake) -> None:
    found = ask(tiny, "lineage", codes=CODES, mask="no_special", feature=THE)
    assert [(one["kind"], one["name"]) for one in found] == [
        ("feature_statistics", f"{CODES}, no_special, {THE}"),
        ("mask", "no_special"),
        ("codes", CODES),
        ("dictionary", "topk:toy:resid"),
        ("tensor", "toy:resid@tiny"),
        ("model", "toy"),
        ("rowset", "tiny@words"),
        ("corpus", "tiny"),
    ]
    assert [one["kind"] for one in found if one["fingerprint"] is None] == ["feature_statistics"]
    assert [one["kind"] for one in found if one["run"] is None] == ["mask"]
    log = {one["run"]: one for one in tiny.sql("SELECT * FROM runs").arrow().to_pylist()}
    for one in found:
        if one["run"] is None:
            continue
        made = log[one["run"]]
        for name in ("flow", "inputs", "snapshot_before", "snapshot_after", "code_version"):
            assert one[name] == made[name]
        assert one["snapshot_before"] < one["snapshot_after"]
    # The number rests on codes that an earlier snapshot holds.
    runs = {one["kind"]: one for one in found}
    assert runs["corpus"]["snapshot_after"] <= runs["rowset"]["snapshot_before"]
    assert runs["codes"]["snapshot_after"] <= runs["feature_statistics"]["snapshot_before"]


def test_lineage__names_both_tensors_of_a_dictionary_used_elsewhere(copied: Lake) -> None:
    elsewhere = "UPDATE codes SET tensor = 'toy:pooled@tiny', rowset = 'tiny@documents'"
    with copied.run("test", {"key": "move"}, {}) as run:
        run.commit(lambda one: one.execute(f"{elsewhere} WHERE codes = '{CODES}'"), "move")
    found = ask(copied, "lineage", codes=CODES, mask="all", feature=THE)
    named = [(one["kind"], one["name"]) for one in found if one["step"] >= 5]
    assert named == [
        ("tensor", "toy:pooled@tiny"),
        ("tensor", "toy:resid@tiny"),
        ("model", "toy"),
        ("rowset", "tiny@documents"),
        ("rowset", "tiny@words"),
        ("corpus", "tiny"),
    ]


def test_storage_by_tensor__adds_up_to_every_shard(tiny: Lake) -> None:
    found = ask(tiny, "storage_by_tensor")
    whole = tiny.sql("SELECT count(*) AS n, sum(bytes) AS bytes FROM shards").arrow().to_pylist()
    assert sum(column(found, "files")) == whole[0]["n"]
    assert sum(column(found, "bytes")) == whole[0]["bytes"]
    assert column(found, "bytes") == sorted(column(found, "bytes"), reverse=True)
    (tensor,) = [one for one in found if one["name"] == "toy:resid@tiny"]
    assert (tensor["kind"], tensor["array"], tensor["files"]) == ("tensor", "rows", 9)
    assert tensor["bytes_per_row"] == N_FEATURES * 2 + 4 / 2


def test_firing_by_label__compares_the_values_of_a_label(tiny: Lake) -> None:
    found = ask(tiny, "firing_by_label", codes=CODES, label="party", feature=CAT)
    assert column(found, "value") == ["red", "blue"]
    spoken = [row for row, (_, text, _, _) in enumerate(ROWS) if text != START]
    for one, documents in zip(found, ((0, 2), (1,)), strict=True):
        rows = [row for row in spoken if ROWS[row][0] in documents]
        values = DENSE[rows, CAT]
        assert one["n_documents"] == len(documents)
        assert one["n_documents_firing"] == len({ROWS[row][0] for row in rows if DENSE[row, CAT]})
        assert (one["n_rows"], one["n_fires"]) == (len(rows), np.count_nonzero(values))
        assert one["density"] == np.count_nonzero(values) / len(rows)
        assert one["mean_all"] == pytest.approx(values.mean())
    assert found[0]["mean_active"] == DENSE[DENSE[:, CAT] > 0, CAT].mean()
    assert found[1]["mean_active"] is None


def test_firing_by_label__of_documents_counts_documents(tiny: Lake) -> None:
    found = ask(tiny, "firing_by_label", codes=DOCUMENT_CODES, label="party", feature=1)
    assert {one["value"]: one["density"] for one in found} == {"red": 0.5, "blue": 0.0}
    red = found[0]
    assert red["mean_all"] == DOCUMENT_DENSE[[0, 2], 1].mean()


def test_vocabulary__holds_the_halves_of_the_emoji_apart() -> None:
    assert f" {FAMILY}" not in vocabulary()
