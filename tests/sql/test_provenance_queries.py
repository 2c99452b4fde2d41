"""Queries about where numbers lie and where they come from, and the one about labels."""

import numpy as np
import pytest

from actlake.storage.lake import Lake
from tests.sql.conftest import ask, column
from tests.sql.tiny import (
    CAT,
    CODES,
    DENSE,
    DOCUMENT_CODES,
    DOCUMENT_DENSE,
    N_FEATURES,
    ROWS,
    START,
    THE,
)


def test_coverage_of_tensor__lists_every_shard(tiny: Lake, copied: Lake) -> None:
    found = ask(tiny, "coverage_of_tensor", tensor="toy:resid@tiny")
    assert column(found, "shard") == list(range(10))
    assert column(found, "row_start") == list(range(0, 20, 2))
    assert column(found, "row_stop") == [*range(2, 20, 2), 19]
    assert all(column(found, "committed"))
    assert sum(column(found, "bytes")) == 10 * (2 * N_FEATURES * 2 + 4)
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
    assert [(one["kind"], one["shard"]) for one in found] == [("codes", at) for at in range(10)]


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
    assert (tensor["kind"], tensor["array"], tensor["files"]) == ("tensor", "rows", 10)
    assert tensor["bytes_per_row"] == tensor["bytes"] / len(ROWS)


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
