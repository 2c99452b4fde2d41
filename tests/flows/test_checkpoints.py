"""Two checkpoints of a dictionary, of which is known what became of each feature."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.flows.compare import compare
from actlake.flows.summarize import summarize
from actlake.storage import Document, Lake
from actlake.storage.codes_writer import CodesPlan
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.errors import QueryError
from tests.flows.commands import Cli, ok
from tests.shared import made_once
from tests.sql.conftest import encode, write

DOCUMENTS, WORDS, FEATURES = 60, 20, 12
VOCABULARY = ("talk", "hear", "tell")
"""Of four letters each."""
BEFORE, AFTER = "topk:toy:resid:step1000@talks", "topk:toy:resid:step2000@talks"
KEPT = {0: 3, 1: 4, 2: 5, 7: 8, 9: 10}
"""Feature before to the one after. Feature 1 fires twice as often after, 2 half as strongly again;
8 is in that of 7 after, and 11 after is the part of 9 that 10 left."""
LOST, NEW, MERGED, SPLIT = 6, 7, {8: 8}, {11: 9}


def planted() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    rows = DOCUMENTS * WORDS

    def on(share: float) -> NDArray[np.bool_]:
        return rng.random(rows) < share

    before, after = (np.zeros((rows, FEATURES)) for _ in range(2))
    values = rng.lognormal(0, 0.3, rows)
    base, more = on(0.1), on(0.1)
    apart = rng.random(rows)
    for column, fires in ((0, on(0.1)), (1, base), (2, on(0.1)), (6, on(0.1))):
        before[:, column] = fires * values
    before[:, 7], before[:, 8] = (apart < 0.1) * values, ((apart > 0.1) & (apart < 0.16)) * values
    before[:, 9] = ((apart > 0.3) & (apart < 0.45)) * values
    after[:, 3], after[:, 4] = before[:, 0], (base | more) * values
    after[:, 5], after[:, 7] = 1.5 * before[:, 2], on(0.1) * values
    after[:, 8] = before[:, 7] + before[:, 8]
    after[:, 10] = before[:, 9] * (apart < 0.4)
    after[:, 11] = before[:, 9] * (apart > 0.4)
    return {BEFORE: before.astype(np.float32), AFTER: after.astype(np.float32)}


def directions(codes: str) -> NDArray[np.float32]:
    """Each at right angles to all others, but the kept ones along what they were."""
    found = np.zeros((FEATURES, 2 * FEATURES), np.float32)
    place = {new: old for old, new in KEPT.items()} if codes == AFTER else {}
    for feature in range(FEATURES):
        own = feature if codes == BEFORE else FEATURES + feature
        found[feature, place.get(feature, own)] = 1
    return found


def build(root: Path) -> None:
    lake = Lake.create(root)
    rows = DOCUMENTS * WORDS
    text = " ".join(VOCABULARY[i % len(VOCABULARY)] for i in range(WORDS))
    lake.create_corpus("talks", [Document(f"d{i}", text) for i in range(DOCUMENTS)])
    start = np.tile(np.arange(WORDS) * 5, DOCUMENTS)
    columns = {
        "document": np.arange(rows) // WORDS,
        "token_id": np.arange(rows) % WORDS % len(VOCABULARY),
        "char_start": start,
        "char_stop": start + 4,
    }
    rowset = lake.create_rowset("talks@words", corpus="talks", columns=columns, tokenizer="words")
    width = 2 * FEATURES
    with lake.create_tensor("toy:resid@talks", rowset="talks@words", width=width) as tensor:
        tensor.append(np.zeros((rows, width), np.float32))
    with lake.run("test", {}, {}) as run:
        for codes, dense in planted().items():
            dictionary = codes.partition("@")[0]
            write_dictionary(
                run,
                name=dictionary,
                method="topk",
                tensor="toy:resid@talks",
                n_features=FEATURES,
                width=width,
                config={"n_features": FEATURES, "width": width, "k": 3},
                arrays={"W_dec": directions(codes)},
                fingerprint=dictionary,
                tables={},
            )
            plan = CodesPlan(
                name=codes,
                dictionary=dictionary,
                dictionary_fingerprint=dictionary,
                n_features=FEATURES,
                tensor="toy:resid@talks",
                tensor_fingerprint="any",
                rowset=rowset,
                dtype="float16",
            )
            encode(run, lake, plan, dense)
    known = [
        {"tokenizer": "words", "token_id": index, "text": text}
        for index, text in enumerate(VOCABULARY)
    ]
    write(lake, {"vocabulary": known})
    for codes in (BEFORE, AFTER):
        summarize(lake, codes=codes, mask="no_special")
    compare(lake, a=BEFORE, b=AFTER)
    lake.close()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake.open(made_once(tmp_path_factory, "checkpoints", build))


def changes(lake: Lake, codes: str, others: str, **asked: Any) -> dict[str, list[dict[str, Any]]]:
    given: dict[str, Any] = {
        "mask": "no_special",
        "method": "activation",
        "q": 0.05,
        "score": 0.3,
        "limit": 99,
    } | asked
    found = lake.query("changes_between_dictionaries", codes=codes, others=others, **given)
    by_change: dict[str, list[dict[str, Any]]] = {}
    for row in found.arrow().to_pylist():
        by_change.setdefault(row["change"], []).append(row)
    return by_change


def pairs(rows: list[dict[str, Any]]) -> dict[Any, Any]:
    return {row["feature"]: row["other"] for row in rows}


def test_changes__are_those_that_were_planted(lake: Lake) -> None:
    found = changes(lake, BEFORE, AFTER)
    assert list(found) == ["kept", "lost", "new", "merged", "split"]
    assert pairs(found["kept"]) == KEPT
    assert pairs(found["lost"]) == {LOST: None}
    assert pairs(found["new"]) == {None: NEW}
    assert pairs(found["merged"]) == MERGED
    assert [(row["other"], row["feature"]) for row in found["split"]] == [*SPLIT.items()]
    assert {row["n_changes"] for row in found["kept"]} == {len(KEPT)}
    dense = planted()
    for row in found["kept"]:
        old, new = dense[BEFORE][:, row["feature"]], dense[AFTER][:, row["other"]]
        assert row["density"] == pytest.approx((old > 0).mean())
        assert row["other_density"] == pytest.approx((new > 0).mean())
        assert row["density_ratio"] == pytest.approx((new > 0).sum() / (old > 0).sum())
        assert row["mean_active"] == pytest.approx(old[old > 0].mean(), rel=1e-3)
        assert row["other_mean_active"] == pytest.approx(new[new > 0].mean(), rel=1e-3)
    # The one that fires twice as often is among the first, and that of equal density the last.
    ratios = [abs(np.log(row["density_ratio"])) for row in found["kept"]]
    assert ratios == sorted(ratios, reverse=True)
    assert found["kept"][0]["feature"] == 1


def test_changes__the_other_way_round_are_turned_round(lake: Lake) -> None:
    forth, back = changes(lake, BEFORE, AFTER), changes(lake, AFTER, BEFORE)
    turned = {"kept": "kept", "lost": "new", "new": "lost", "merged": "split", "split": "merged"}
    for change, other in turned.items():
        mine = {(row["feature"], row["other"]) for row in forth[change]}
        assert mine == {(row["other"], row["feature"]) for row in back[other]}, change


def test_changes__by_decoder_find_the_directions_that_stayed(lake: Lake) -> None:
    found = changes(lake, BEFORE, AFTER, method="decoder")
    assert pairs(found["kept"]) == KEPT
    assert set(found) == {"kept", "lost", "new"}
    # Of those without a partner only the ones that fire.
    assert set(pairs(found["lost"])) == {6, 8}
    assert {row["other"] for row in found["new"]} == {7, 11}


def test_changes__are_cut_each_for_itself(lake: Lake) -> None:
    found = changes(lake, BEFORE, AFTER, limit=1)
    assert [len(rows) for rows in found.values()] == [1] * 5
    assert [rows[0]["n_changes"] for rows in found.values()] == [len(KEPT), 1, 1, 1, 1]


def test_changes__do_not_take_a_sure_but_weak_match_for_one(lake: Lake) -> None:
    # One feature that is new happens to fire with an old one more than chance has it.
    sure = changes(lake, BEFORE, AFTER, score=0)
    assert (NEW, 0) in [(row["other"], row["feature"]) for row in sure["split"]]
    assert max(row["score"] for row in sure["split"] if row["other"] == NEW) < 0.1


def test_changes__want_a_method_that_there_is(lake: Lake) -> None:
    with pytest.raises(QueryError, match=r"cannot match by luck; .method is activation or decoder"):
        changes(lake, BEFORE, AFTER, method="luck")
    assert changes(lake, BEFORE, "none") == {}


DOCUMENT = Path(__file__).parents[2] / "docs" / "records.md"


def test_example__of_the_document_is_what_is_printed(lake: Lake, cli: Cli) -> None:
    blocks = re.findall(r"```text\n\$ actlake (.*?)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    [(command, shown)] = [one for one in blocks if "changes_between_dictionaries" in one[0]]
    printed = ok(cli(lake.root, *shlex.split(command)))
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()
