"""Conditions and samples: against plain filters, exact counts, any order of the documents."""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from actlake.flows import sources
from actlake.flows.selection import apportion, select
from actlake.flows.sources import Source, read
from actlake.storage.errors import CorpusError, InputError, QueryError
from tests.flows.planted_documents import (
    refusal,
    write_text,
)


def population(folder: Path, count: int = 300, order: int = 0) -> Source:
    """Rows of three parties in known numbers: 2 of X, a quarter D, the rest R; any order."""
    rows = [
        {"id": f"d{i}", "text": f"t{i}", "year": 1900 + i % 100, "party": party(i, count)}
        for i in range(count)
    ]
    if order:
        random.Random(order).shuffle(rows)
    write_text(folder / f"{order}.jsonl", "\n".join(json.dumps(row) for row in rows))
    return Source(path=str(folder / f"{order}.jsonl"), id="id")


def party(i: int, count: int) -> str | None:
    return None if i < 2 else "D" if i < count // 4 + 2 else "R"


def test_where__keeps_the_rows_a_filter_would(tmp_path: Path) -> None:
    everything = population(tmp_path)
    kept = list(read(replace(everything, where="year >= 1950 AND party = 'D'")))
    assert kept == [
        one
        for one in read(everything)
        if int(str(one.labels["year"])) >= 1950 and one.labels["party"] == "D"
    ]
    # NULL is no: neither the condition nor its opposite keeps a document without a party.
    sizes = [
        len(list(read(replace(everything, where=where))))
        for where in ("party = 'D'", "NOT party = 'D'", "party IS NULL")
    ]
    assert sum(sizes) == 300
    assert sizes[2] == 2


def test_where__sees_labels_that_only_some_rows_have(tmp_path: Path) -> None:
    path = write_text(
        tmp_path / "a.jsonl", '{"text": "x", "n": 1}\n{"text": "y", "n": 1.5}\n{"text": "z"}'
    )
    found = list(read(Source(path=str(path), where="n > 1")))
    assert [(one.text, one.labels) for one in found] == [("y", {"n": 1.5})]


@pytest.mark.parametrize(
    "where",
    [
        "yeer > 1",
        "year",
        "year > 1; DROP TABLE labels",
        "true) OR (true",
        "year IN (SELECT 1)",
        "read_text('/etc/passwd') = ''",
        "random() < 0.5",
        "count(*) > 1",
        "",
        "CAST(party AS INTEGER) = 1",
    ],
)
def test_where__is_one_condition_over_labels(where: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError) as caught:
        list(read(replace(population(tmp_path), where=where)))
    assert "\n" not in str(caught.value)


def test_where__labels_of_several_kinds_are_refused(tmp_path: Path) -> None:
    lines = [{"text": "x", "n": 1}, {"text": "y", "n": "one"}]
    path = write_text(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert "the label 'n' holds values of several kinds" in refusal(
        Source(path=str(path), where="n = 1")
    )
    plain = write_text(tmp_path / "a.txt", "x")
    assert "has no labels to look at" in refusal(Source(path=str(plain), where="n = 1"))


def ids(source: Source) -> list[str]:
    return [one.source_id for one in read(source)]


def test_sample__does_not_depend_on_the_order_of_rows_or_files(tmp_path: Path) -> None:
    found = [
        ids(replace(population(tmp_path, order=order), sample=50, stratify=stratify))
        for stratify in (None, "party")
        for order in (0, 1, 2)
    ]
    for plain, *shuffled in (found[:3], found[3:]):
        assert len(plain) == 50
        assert all(set(one) == set(plain) and one != plain for one in shuffled)


def test_sample__seed_and_size(tmp_path: Path) -> None:
    source = population(tmp_path)
    small, large = (ids(replace(source, sample=size)) for size in (40, 80))
    assert set(small) < set(large)
    assert large == [one for one in ids(source) if one in set(large)]  # in the order of reading
    other = ids(replace(source, sample=80, seed=1))
    # Two independent samples of 80 in 300 share 21.3 on average, sd 3.4: this bound is 7 sd.
    assert len(set(other) & set(large)) < 45
    assert ids(replace(source, sample=1000)) == ids(source)


def test_sample__is_uniform(tmp_path: Path) -> None:
    source = replace(population(tmp_path), sample=100)
    counts = Counter(one for seed in range(30) for one in ids(replace(source, seed=seed)))
    # Of 30 draws at 1/3: mean 10, sd 2.6. Over 300 documents the extremes stay within 5 sd.
    assert len(counts) == 300
    assert max(counts.values()) <= 23


def test_sample__strata_get_their_share_and_at_least_one(tmp_path: Path) -> None:
    source = population(tmp_path)
    all_of = Counter(one.labels["party"] for one in read(source))
    assert all_of == {None: 2, "D": 75, "R": 223}
    for size in (3, 10, 50, 299):
        found = Counter(
            one.labels["party"] for one in read(replace(source, sample=size, stratify="party"))
        )
        assert found.total() == size
        assert found[None] >= 1
        for value in ("D", "R"):
            assert abs(found[value] - size * all_of[value] / 300) <= 1.5
    assert "cannot hold a document of each of the 3 strata" in refusal(
        replace(source, sample=2, stratify="party")
    )
    assert "no document has the label 'prty'; did you mean 'party'" in refusal(
        replace(source, sample=9, stratify="prty")
    )


def test_sample__comes_after_the_condition(tmp_path: Path) -> None:
    source = replace(population(tmp_path), where="year >= 1950")
    found = list(read(replace(source, sample=20, stratify="party")))
    assert len(found) == 20
    assert all(int(str(one.labels["year"])) >= 1950 for one in found)
    assert {one.labels["party"] for one in found} == {"D", "R"}  # None is before 1950
    assert len(ids(replace(source, sample=500))) == len(ids(source)) == 150


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    extra=st.integers(0, 100),
)
def test_apportion__fits_and_is_fair(sizes: list[int], extra: int) -> None:
    seats = len(sizes) + extra
    given_ = apportion(sizes, seats)
    assert sum(given_) == min(seats, sum(sizes))
    assert all(1 <= got <= size for got, size in zip(given_, sizes, strict=True))
    for got, size in zip(given_, sizes, strict=True):
        for other_got, other in zip(given_, sizes, strict=True):
            # No seat would serve a smaller group better than the one that has it.
            assert (
                other_got == 1 or got == size or other / (2 * other_got - 1) >= size / (2 * got + 1)
            )


def test_apportion__equals_sainte_lague() -> None:
    # Seats of 53,000, 24,000 and 23,000 votes: the standard textbook example of the method.
    assert apportion([53_000, 24_000, 23_000], 7) == [3, 2, 2]
    with pytest.raises(InputError, match="give at least that"):
        apportion([1, 1, 1], 2)


def test_read__refuses_a_source_that_changes_between_its_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = replace(population(tmp_path), sample=10)
    first_pass = select

    def select_then_grow(*given: Any, **named: Any) -> Any:
        found = first_pass(*given, **named)
        with Path(source.path).open("a") as file:
            file.write('\n{"id": "late", "text": "t"}')
        return found

    monkeypatch.setattr(sources, "select", select_then_grow)
    with pytest.raises(CorpusError, match="changed while it was read"):
        list(read(source))


def test_sample__is_the_same_in_every_version(tmp_path: Path) -> None:
    """The smallest of splitmix64(xxh3_64(id)): a corpus can be made again from its source."""

    def rank(name: str) -> int:
        z = (xxhash.xxh3_64_intdigest(name.encode()) + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    source = population(tmp_path)
    assert set(ids(replace(source, sample=7))) == set(sorted(ids(source), key=rank)[:7])
    assert ids(replace(source, sample=7)) == ["d2", "d16", "d61", "d103", "d113", "d211", "d269"]
