"""What fires on rows, at positions and in a document is counted again by hand."""

from typing import Any

import numpy as np
import pytest

from actlake.storage.codes_writer import CodesPlan
from actlake.storage.errors import QueryError
from actlake.storage.lake import Lake
from tests.sql.conftest import ask, column, encode
from tests.sql.tiny import (
    CODES,
    DENSE,
    DOCUMENT_CODES,
    DOCUMENT_DENSE,
    N_FEATURES,
    ROWS,
    START,
    TEXTS,
)

document_of = np.array([row[0] for row in ROWS])
SPECIAL = np.array([row[1] == START for row in ROWS])


def strongest(row: int) -> list[int]:
    """Features that fire on it, strongest first."""
    firing = np.flatnonzero(DENSE[row]).tolist()
    return sorted(firing, key=lambda feature: (-DENSE[row, feature], feature))


@pytest.mark.parametrize(("first", "last"), [(0, 0), (4, 4), (1, 9), (0, 999), (5, 4)])
@pytest.mark.parametrize("limit", [1, 99])
def test_features_of_rows__are_the_strongest_of_each(
    first: int, last: int, limit: int, tiny: Lake
) -> None:
    found = ask(
        tiny, "features_of_rows", codes=CODES, mask="all", first=first, last=last, limit=limit
    )
    rows = range(first, min(last, len(ROWS) - 1) + 1)
    expected = [(row, feature) for row in rows for feature in strongest(row)[:limit]]
    assert [(one["row"], one["feature"]) for one in found] == expected
    for one in found:
        row, feature = one["row"], one["feature"]
        start = int(np.flatnonzero(document_of == document_of[row])[0])
        assert one["value"] == DENSE[row, feature]
        assert (one["document"], one["position"]) == (document_of[row], row - start)
        assert one["text"] == ROWS[row][1]
        assert one["n_features"] == np.count_nonzero(DENSE[row])
        assert one["density"] == pytest.approx(np.mean(DENSE[:, feature] > 0))
        assert one["top_token"] is not None


def test_features_of_rows__are_there_without_a_summary(tiny: Lake) -> None:
    given: dict[str, Any] = {"codes": CODES, "first": 1, "last": 1, "limit": 9}
    known = ask(tiny, "features_of_rows", mask="all", **given)
    unknown = ask(tiny, "features_of_rows", mask="never", **given)
    assert column(unknown, "feature") == column(known, "feature")
    assert column(unknown, "density") == [None] * len(known)


def test_features_of_positions__are_those_of_the_rows_there(tiny: Lake) -> None:
    for document in range(len(TEXTS)):
        rows = np.flatnonzero(document_of == document)
        for first, last in ((0, 0), (1, 2), (2, 99)):
            asked = {"codes": CODES, "mask": "all", "limit": 9}
            found = ask(
                tiny, "features_of_positions", document=document, first=first, last=last, **asked
            )
            part = rows[first : last + 1]
            same = ask(tiny, "features_of_rows", first=int(part[0]), last=int(part[-1]), **asked)
            assert found == [{k: v for k, v in one.items() if k != "document"} for one in same]


@pytest.mark.parametrize("document", range(len(TEXTS)))
def test_explanation_of_document__shares_out_its_rows_and_all_that_fires(
    document: int, tiny: Lake
) -> None:
    asked = {"codes": CODES, "mask": "all", "document": document}
    found = ask(tiny, "explanation_of_document", limit=99, **asked)
    block = DENSE[(document_of == document) & ~SPECIAL].astype(float)
    mass = block.sum(axis=0)
    order = sorted(np.flatnonzero(mass).tolist(), key=lambda feature: (-mass[feature], feature))
    assert column(found, "feature") == order
    assert column(found, "n_rows") == [len(block)] * len(order)
    assert column(found, "n_fires") == np.count_nonzero(block, axis=0)[order].tolist()
    assert column(found, "row_share") == pytest.approx((block > 0).mean(axis=0)[order])
    assert column(found, "mass") == pytest.approx(mass[order])
    assert column(found, "mass_share") == pytest.approx(mass[order] / mass.sum())
    assert column(found, "mass_share_to_here") == pytest.approx(np.cumsum(mass[order]) / mass.sum())
    assert column(found, "density") == pytest.approx((DENSE > 0).mean(axis=0)[order])
    # What is left out below is still in the shares.
    assert ask(tiny, "explanation_of_document", limit=1, **asked) == found[:1]


def test_explanation_of_document__of_codes_over_documents_is_of_its_one_row(tiny: Lake) -> None:
    found = ask(
        tiny, "explanation_of_document", codes=DOCUMENT_CODES, mask="all", document=3, limit=9
    )
    values = DOCUMENT_DENSE[3]
    assert {one["feature"]: one["mass"] for one in found} == {
        feature: values[feature] for feature in np.flatnonzero(values)
    }
    assert {one["row_share"] for one in found} == {1}


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
    equal = np.zeros_like(DENSE)
    equal[1:4, 0] = 1
    plan = CodesPlan(
        name="even",
        dictionary=CODES.partition("@")[0],
        dictionary_fingerprint="any",
        n_features=N_FEATURES,
        tensor="toy:resid@tiny",
        tensor_fingerprint="any",
        rowset=copied.rowset("tiny@words"),
        dtype="float16",
    )
    with copied.run("test", {"codes": "even"}, {}) as run:
        encode(run, copied, plan, equal)
    (found,) = ask(copied, "features_of_document", codes="even", document=0, by="max", limit=9)
    assert (found["max_row"], found["n_fires"]) == (1, 3)


@pytest.mark.parametrize("codes", [CODES, "none"])
def test_features_of_document__refuses_another_measure(codes: str, tiny: Lake) -> None:
    with pytest.raises(QueryError, match=r"cannot rank features by luck; .by is max, sum or count"):
        ask(tiny, "features_of_document", codes=codes, document=0, by="luck", limit=3)
