"""Views: planted answers come back."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from actlake import sql
from actlake.storage.catalog import author
from actlake.storage.errors import IncompleteError
from actlake.storage.lake import Lake
from tests.sql.conftest import similarity, write
from tests.sql.tiny import (
    CAT,
    CODES,
    DEAD,
    DENSE,
    DOCUMENT_CODES,
    FAMILY,
    LONE,
    N_FEATURES,
    ROWS,
    SPECIAL,
    START,
    TEXTS,
    THE,
    WORDS,
    vocabulary,
)


def rows(lake: Lake, select: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.sql(select, **parameters).arrow().to_pylist()
    return found


def summary(lake: Lake, codes: str = CODES, mask: str = "all") -> list[dict[str, Any]]:
    return rows(
        lake,
        "SELECT * FROM feature_summary WHERE codes = $codes AND mask = $mask ORDER BY feature",
        codes=codes,
        mask=mask,
    )


@pytest.mark.parametrize("view", sql.names("views"))
def test_view__is_a_table_of_the_lake(view: str, tiny: Lake) -> None:
    assert len(rows(tiny, f"SELECT * FROM {view}")) == tiny.table(view).collect().height > 0


def test_similarity_tests__are_corrected_over_all_pairs(copied: Lake) -> None:
    p = {"w": 0.01, "x": 0.2, "y": 0.03, "z": 0.9}
    added = [similarity("toy:resid@tiny", name, p=one) for name, one in p.items()]
    write(copied, {"similarities": added}, "more pairs")
    found = rows(copied, "SELECT tensor_b, p, q_pairs, n_tests, excess FROM similarity_tests")
    right = false_discovery_control([one["p"] for one in found])
    assert [one["q_pairs"] for one in found] == pytest.approx(right.tolist())
    assert {one["n_tests"] for one in found} == {5}
    assert {one["excess"] for one in found} == {0.25}


def test_tokens_text__slices_code_points(tiny: Lake) -> None:
    found = rows(
        tiny,
        'SELECT "row", text, source_id FROM tokens_text WHERE rowset = $rowset ORDER BY "row"',
        rowset="tiny@words",
    )
    assert [one["text"] for one in found] == [text for _, text, _, _ in ROWS]
    assert [one["source_id"] for one in found] == [f"doc-{document}" for document, *_ in ROWS]
    # Both halves of the emoji show all of it, and a letter and its accent stay together.
    assert sum(one["text"] == f" {FAMILY}" for one in found) == 2
    assert any(one["text"] == " cafe\u0301" for one in found)


def test_tokens_text__of_a_special_is_the_vocabulary(tiny: Lake) -> None:
    found = rows(tiny, "SELECT text, token FROM tokens_text WHERE is_special")
    assert found == [{"text": START, "token": START}] * len(TEXTS)


def test_tokens_text__of_a_document_row_is_the_document(tiny: Lake) -> None:
    found = rows(
        tiny,
        'SELECT text, token FROM tokens_text WHERE rowset = $rowset ORDER BY "row"',
        rowset="tiny@documents",
    )
    assert found == [{"text": text, "token": None} for text in TEXTS]


def test_feature_summary__says_what_is_known_of_each_feature(tiny: Lake) -> None:
    found = summary(tiny)
    assert [one["feature"] for one in found] == list(range(N_FEATURES))
    assert [one["n_fires"] for one in found] == np.count_nonzero(DENSE, axis=0).tolist()
    assert [one["feature"] for one in found if one["is_dead"]] == [DEAD]
    assert [one["feature"] for one in found if one["is_dense"]] == [THE, CAT, WORDS, SPECIAL]
    assert found[DEAD]["log10_density"] is None
    assert found[LONE]["log10_density"] == pytest.approx(-math.log10(len(ROWS)))
    assert found[THE]["max_active"] == DENSE[:, THE].max()
    made_of = {"dictionary", "method", "tensor", "model", "site", "rowset"}
    assert {name: found[THE][name] for name in made_of} == {
        "dictionary": "topk:toy:resid",
        "method": "topk",
        "tensor": "toy:resid@tiny",
        "model": "toy",
        "site": "resid",
        "rowset": "tiny@words",
    }


def test_feature_summary__names_the_first_token_by_count_and_by_lift(tiny: Lake) -> None:
    found = summary(tiny)
    cat, words = found[CAT], found[WORDS]
    assert (cat["top_token"], cat["top_token_count"]) == (" cat", 2)
    assert cat["lift_token_lift"] == pytest.approx(len(ROWS) / 2)
    # Of the words " cat" comes twice, and so does "the" at the start of a document.
    assert (words["top_token"], words["top_token_count"]) == ("the", 2)
    assert found[DEAD]["top_token"] is found[DEAD]["lift_token"] is None


def test_feature_summary__keeps_masks_apart(tiny: Lake) -> None:
    under = summary(tiny, mask="no_special")
    assert under[SPECIAL]["is_dead"]
    assert under[THE]["n_rows"] == len(ROWS) - len(TEXTS)


def test_feature_summary__of_documents_has_no_tokens(tiny: Lake) -> None:
    found = summary(tiny, DOCUMENT_CODES)
    assert [one["n_fires"] for one in found] == [3, 2]
    assert {one["top_token"] for one in found} == {None}


def test_feature_summary__draws_its_lines_where_it_says(copied: Lake) -> None:
    counts = [(0, 10_000), (1, 10_001), (1, 10_000), (1_000, 10_000), (1_001, 10_000)]
    planted = [
        {
            "codes": CODES,
            "mask": "planted",
            "feature": feature,
            "n_rows": n_rows,
            "n_fires": n_fires,
            "density": n_fires / n_rows,
            "mean_all": 0.0,
            "std_all": 0.0,
            "run": "",
        }
        for feature, (n_fires, n_rows) in enumerate(counts)
    ]
    token = {"codes": CODES, "mask": "planted", "feature": 0, "mean": 1.0}
    tokens = [
        token | {"kind": kind, "rank": rank, "token_id": token_id, "count": 9, "lift": 2.0}
        for kind, rank, token_id in (("count", 1, 1), ("count", 2, 3), ("lift", 1, 2))
    ]
    write(copied, {"feature_statistics": planted, "feature_tokens": tokens})
    found = summary(copied, mask="planted")
    words = vocabulary()
    assert (found[0]["top_token"], found[0]["lift_token"]) == (words[1], words[2])
    flags = [(one["is_dead"], one["is_rare"], one["is_dense"]) for one in found]
    assert flags == [
        (True, False, False),
        (False, True, False),
        (False, False, False),
        (False, False, False),
        (False, False, True),
    ]


def test_dead_features__are_those_that_never_fire_under_the_mask(tiny: Lake) -> None:
    found = rows(tiny, "SELECT mask, feature, n_rows FROM dead_features ORDER BY mask, feature")
    assert [(one["mask"], one["feature"]) for one in found] == [
        ("all", DEAD),
        ("no_special", DEAD),
        ("no_special", SPECIAL),
    ]
    assert found[1]["n_rows"] == len(ROWS) - len(TEXTS)


def test_shard_coverage__of_sealed_arrays_is_complete(tiny: Lake) -> None:
    found = rows(tiny, "SELECT * FROM shard_coverage ORDER BY kind, name")
    assert [(one["kind"], one["name"]) for one in found] == [
        ("codes", DOCUMENT_CODES),
        ("codes", CODES),
        ("tensor", "toy:pooled@tiny"),
        ("tensor", "toy:resid@tiny"),
    ]
    assert all(one["complete"] and one["missing"] == 0 for one in found)
    tensor = found[3]
    assert tensor["rows_committed"] == tensor["rows_planned"] == len(ROWS)
    # Ten shards of two float16 rows, the last one padded, and four bytes of checksum each.
    assert (tensor["shards_planned"], tensor["bytes"]) == (10, 10 * (2 * N_FEATURES * 2 + 4))
    stored = rows(tiny, "SELECT owner, sum(bytes) AS bytes FROM shards GROUP BY owner")
    whole = {one["owner"]: one["bytes"] for one in stored}
    assert [one["bytes"] for one in found] == [whole[one["id"]] for one in found]


def test_shard_coverage__counts_what_is_missing(copied: Lake) -> None:
    with (
        pytest.raises(IncompleteError, match="lacks its last"),
        copied.create_tensor("half", rowset="tiny@words", width=1) as tensor,
    ):
        tensor.append(np.ones((5, 1)))
    (found,) = rows(copied, "SELECT * FROM shard_coverage WHERE name = 'half'")
    # Five rows fill two shards; the fifth waits for a shard that never came.
    assert (found["shards_committed"], found["missing"], found["rows_committed"]) == (2, 8, 4)
    assert (found["state"], found["complete"]) == ("planned", False)


def test_run_log__tells_how_long_and_what(tiny: Lake) -> None:
    found = rows(tiny, "SELECT * FROM run_log ORDER BY started, run")
    flows = ["create_corpus", *["create_rowset"] * 2, *["create_tensor"] * 2, *["test"] * 3]
    assert [one["flow"] for one in found] == flows
    assert all(one["state"] == "completed" for one in found)
    for one in found:
        took = (one["ended"] - one["started"]).total_seconds()
        assert one["seconds"] == pytest.approx(took)
        assert took > 0
    assert [one["corpora"] for one in found] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert [one["tensors"] for one in found] == [0, 0, 0, 1, 1, 0, 0, 0]
    encoded = found[5]
    assert (encoded["codes"], encoded["dictionaries"]) == (2, 2)
    assert encoded["shards"] == (10 + 4) * 4
    assert found[7]["feature_statistics"] == 2 * N_FEATURES + 2
    assert found[7]["evaluations"] == 6
    assert {one["author"] for one in found} == {author()}
    assert found[0]["names"] == "corpus tiny"
    assert found[4]["names"] == "tensor toy:pooled@tiny"
    assert {f"codes {CODES}", f"codes {DOCUMENT_CODES}"} <= {*encoded["names"].split(", ")}
    assert f"statistics of {CODES} under all" in found[7]["names"].split(", ")
    whole = tiny.sql("SELECT sum(bytes) AS bytes FROM shards").arrow().to_pylist()[0]["bytes"]
    assert sum(one["shard_bytes"] for one in found) == whole


def test_run_log__of_a_run_at_work_has_no_seconds(copied: Lake) -> None:
    with copied.run("test", {"key": "long"}, {}) as run:
        (found,) = rows(copied, "SELECT * FROM run_log WHERE run = $run", run=run.run)
    assert (found["state"], found["seconds"]) == ("running", None)
    assert found["tensors"] == found["shard_bytes"] == 0


def test_dictionary_scores__has_one_row_a_split_and_one_column_a_metric(tiny: Lake) -> None:
    found = rows(tiny, "SELECT * FROM dictionary_scores ORDER BY split")
    assert [(one["split"], one["n"]) for one in found] == [("holdout", 4), ("train", 14)]
    for one in found:
        assert (one["fvu"], one["fvu_pca"], one["l0"]) == (0.25, 0.5, 1.5)
        assert one["fvu_random"] is one["dead_share"] is None
        assert (one["method"], one["k"], one["n_features"]) == ("topk", 2, N_FEATURES)


def test_views__stand_at_the_lakes_snapshot(copied: Lake) -> None:
    before = copied.newest_snapshot()
    with copied.run("test", {"key": "gone"}, {}) as run:
        run.commit(lambda one: one.execute("DELETE FROM feature_statistics"), "forget")
    assert summary(copied) == []
    assert len(summary(copied.at(before))) == N_FEATURES
