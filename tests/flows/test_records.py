"""Records of a lake as a whole: sound, refused, replaced, deleted, withdrawn, documented."""

import re
import shlex
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake.analytics.features import cofirings
from actlake.analytics.features.cofirings import Margins
from actlake.analytics.features.pair_ranking import PairRanking
from actlake.analytics.statistic import merge_in_order
from actlake.flows import pair_counting
from actlake.flows import summarize_pairs as pairs_module
from actlake.flows.delete import delete
from actlake.flows.diff_corpora import diff_corpora
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.flows.withdraw import withdraw
from actlake.storage.csr import Csr
from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.record_lake import (
    CODES,
    NOW,
    RECORDS,
    THEN,
    codes_of,
    contents,
    party,
    planted,
    record,
    rows,
    shared_record_lake,  # noqa: F401  # a fixture
)


@pytest.fixture
def copied(record_lake: Lake, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))


def test_lake__is_sound(record_lake: Lake) -> None:
    assert [str(fault) for fault in record_lake.verify()] == []


@pytest.mark.parametrize(
    ("values", "pairs", "dense"),
    [
        pytest.param(600, 500, 1, id="ranges that fire seldom"),
        pytest.param(600, 20, 200, id="dense ranges, some of one feature"),
        pytest.param(600, 300, 10**6, id="all features at once"),
        pytest.param(10**6, 500, 10**6, id="one block"),
    ],
)
def test_pairs__are_the_same_however_codes_are_cut(
    values: int, pairs: int, dense: int, copied: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copied)
    monkeypatch.setattr(pairs_module, "VALUES", values)
    monkeypatch.setattr(pair_counting, "PAIRS", pairs)
    monkeypatch.setattr(pair_counting, "DENSE_PAIRS", dense)
    monkeypatch.setattr(cofirings, "AT_ONCE", 50)
    monkeypatch.setattr(pairs_module, "CODE_VERSION", "other")
    summarize_pairs(copied, codes=CODES, min_fires=10, with_redundancy=True)
    after = contents(copied)
    assert after["feature_families"] == before["feature_families"]
    assert after["feature_pairs"] == before["feature_pairs"]


def test_codes__are_read_no_oftener_where_there_are_more_rows() -> None:
    """Of 16,384 features, as each fires together with others ever more often."""
    most = pair_counting.DENSE_PAIRS

    def ranges(*work: int) -> list[tuple[int, int]]:
        return pair_counting._ranges(np.array(work), most)

    passes = [len(ranges(*[10**work] * (1 << 14))) for work in range(2, 10)]
    assert passes[-4:] == [6] * 4
    assert passes == sorted(passes)
    found = ranges(*[10**9] * (1 << 14))
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == 1 << 14
    # What a range holds with all later features.
    assert max((stop - start) * ((1 << 14) - start) for start, stop in found) <= most
    assert ranges(*[10**9] * 3) == [(0, 3)]


def test_pairs__are_counted_in_memory_that_rows_do_not_change() -> None:
    features, block_rows, k = 512, 1500, 8

    def peak(blocks: int) -> int:
        def again() -> Iterator[Csr]:
            for number in range(blocks):
                drawn = np.random.default_rng(number).random((block_rows, features))
                indices = np.sort(np.argpartition(drawn, k)[:, :k]).astype(np.uint32)
                starts = np.arange(0, block_rows * k + 1, k)
                yield Csr(starts, indices.ravel(), np.ones(block_rows * k, np.float16), features)

        margins = merge_in_order(Margins.of(one) for one in again())
        ranking = PairRanking(margins, top=5, min_fires=1, min_joint=1)
        tracemalloc.start()
        try:
            pair_counting.count_pairs(again, margins.fires >= 1, ranking, "codes")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(10), peak(40)  # every pair of features has come by then
    assert many < 1.15 * few


Call = Callable[[Lake], object]


def test_what_cannot_be_asked__is_one_line_and_writes_nothing(record_lake: Lake) -> None:
    before = contents(record_lake)
    pairs: dict[str, Any] = {"codes": CODES}
    side_: dict[str, Any] = {"codes": CODES, "label": "side"}
    calls: list[tuple[Call, str]] = [
        (lambda lake: summarize_pairs(lake, **pairs, mask="never"), "no row of now@words is under"),
        (lambda lake: summarize_pairs(lake, **pairs, level="word"), "no level 'word'"),
        (lambda lake: summarize_pairs(lake, **pairs, top=0), "top is 0"),
        (lambda lake: summarize_pairs(lake, **pairs, min_fires=9999), "no two features of"),
        (lambda lake: summarize_pairs(lake, codes="x"), "no codes 'x'"),
        (lambda lake: summarize_labels(lake, **side_, mask="never"), "no row of now@words"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="nothing"), "no label 'nothing'"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="same"), "one value, 'always'"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="number"), "60 values, more than"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="half"), "one value, 'yes'"),
        (lambda lake: summarize_labels(lake, **side_, subset_by="side"), "cannot cut itself"),
        (lambda lake: summarize_labels(lake, **side_, subset_by="no"), "no label 'no'"),
        (lambda lake: summarize_labels(lake, **side_, pooling="median"), "no pooling 'median'"),
        (lambda lake: summarize_labels(lake, **side_, level="word"), "no level 'word'"),
        (lambda lake: summarize_labels(lake, **side_, min_fires=9999), "fires on 9999 of 60"),
        (lambda lake: diff_corpora(lake, a=CODES, b=CODES), "both over the corpus now"),
        (lambda lake: diff_corpora(lake, a=CODES, b="x"), "no codes 'x'"),
    ]
    for call, message in calls:
        with pytest.raises(LakeError, match=message) as told:
            call(record_lake)
        assert "\n" not in str(told.value)
    assert contents(record_lake) == before


@pytest.mark.slow
def test_records__replace_those_before_and_are_found_complete(copied: Lake) -> None:
    before, newest = contents(copied), copied.newest_snapshot()
    diff_corpora(copied, a=CODES, b=codes_of(THEN))
    summarize_labels(copied, codes=CODES, label="side", level="token")
    assert copied.newest_snapshot() == newest
    summarize_pairs(copied, codes=CODES, min_fires=10, level="document", top=1)
    diff_corpora(copied, a=codes_of(THEN), b=CODES)
    after = contents(copied)
    assert after["feature_labels"] == before["feature_labels"]
    assert rows(copied, "feature_pairs", level="document")["rank"].max() == 1
    assert set(rows(copied, "feature_changes")["codes_a"]) == {codes_of(THEN)}
    assert [str(fault) for fault in copied.verify()] == []


@pytest.mark.slow
def test_records__go_with_their_codes_and_with_a_withdrawn_document(
    record_lake: Lake, tmp_path: Path
) -> None:
    gone = Lake.open(shutil.copytree(record_lake.root, tmp_path / "deleted"))
    delete(gone, kind="codes", name=CODES, cascade=True)
    taken = Lake.open(shutil.copytree(record_lake.root, tmp_path / "withdrawn"))
    withdraw(taken, corpus=NOW, documents=[3], reason="test")
    for lake in (gone, taken):
        again = Lake.open(lake.root)
        assert {name: len(again.table(name).collect()) for name in RECORDS} == dict.fromkeys(
            RECORDS, 0
        )
        assert [str(fault) for fault in again.verify()] == []
    of_document = "SELECT count(*) FROM firings WHERE codes = $codes AND document = $document"
    for document, fires in ((3, 0), (4, np.count_nonzero(planted(NOW)[4 * 21 : 5 * 21]))):
        fired = taken.sql(of_document, codes=CODES, document=document).rows()
        assert fired == [(fires,)]
    record(taken)  # the same calls, which are work to do again
    before = contents(record_lake)
    assert {
        name for name, of in contents(taken).items() if len(of) < len(before[name]) // 2
    } == set()
    found = rows(taken, "feature_labels", level="document", subset="")
    assert set(found["n_positive"] + found["n_negative"]) == {59}
    assert party(3) == "B"


DOCUMENT = Path(__file__).parents[2] / "docs" / "records.md"


def test_examples__of_the_document_are_what_is_printed(record_lake: Lake, cli: Cli) -> None:
    blocks = re.findall(r"```text\n\$ actlake (.*?)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    blocks = [one for one in blocks if "changes_between_dictionaries" not in one[0]]  # its own lake
    assert {command.split()[2] for command, _ in blocks} == {
        "partners_of_feature",
        "families_of_codes",
        "features_of_label",
        "features_between_values",
        "interaction_of_features",
        "changes_between_corpora",
        "top_features",
    }
    for command, shown in blocks:
        printed = ok(cli(record_lake.root, *shlex.split(command)))
        assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines(), command
