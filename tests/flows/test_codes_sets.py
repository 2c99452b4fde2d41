"""A set of codes: what is said of it is what is said of one corpus that holds all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.flows.diff_corpora import diff_corpora
from actlake.flows.pipeline import pipeline
from actlake.flows.summaries import summaries
from actlake.flows.summarize import summarize
from actlake.storage.errors import InputError, LakeError, NameTakenError, NotFoundError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.set_lake import (
    DICTIONARY,
    DOCUMENTS,
    EXAMPLES,
    FEATURES,
    MASK,
    OPTIONS,
    OTHERS,
    PARTS,
    SET,
    WHOLE,
    add,
    codes_of,
    encoded,
    planted,
    require_alike,
    rows,
)
from tests.flows.set_lake import copied_set_lake as copied_set_lake
from tests.flows.set_lake import shared_set_lake as shared_set_lake
from tests.flows.tiny import state


@pytest.mark.parametrize("mask", ["all", "late"])
def test_set__is_told_of_as_one_corpus_of_all(lake: Lake, mask: str) -> None:
    lake.create_mask("late", "position > 5")
    given = OPTIONS | {"mask": mask, "source": "author"}
    summarize(lake, codes=SET, name="three", **given)
    summarize(lake, codes=codes_of(WHOLE), **given)
    require_alike(lake, "three", codes_of(WHOLE), mask)
    found = rows(lake, "feature_statistics", "three", mask).sort("feature")
    assert found["n_sources"][0] == 7
    x = planted(WHOLE)
    if mask == "all":  # counted here as well
        assert found["n_rows"].to_list() == [len(x)] * FEATURES
        assert found["n_fires"].to_list() == (x > 0).sum(axis=0).tolist()
        assert np.allclose(found["mean_all"], x.mean(axis=0, dtype=float))
    members = lake.table("codes_sets").filter(codes="three", mask=mask).collect().sort("place")
    assert members["member"].to_list() == SET
    assert [str(fault) for fault in lake.verify()] == []


def contexts(lake: Lake, corpus: str) -> NDArray[np.int64]:
    """A number for what stands up to 8 tokens before and behind each row, in its document."""
    rowset = lake.codes(codes_of(corpus)).rowset
    token, document = rowset.column("token_id").tolist(), rowset.column("document").tolist()
    seen: dict[tuple[int | None, ...], int] = {}
    found = []
    for row in range(len(token)):
        around = range(row - 8, row + 9)
        inside = [0 <= at < len(token) and document[at] == document[row] for at in around]
        held = tuple(token[at] if ok else None for at, ok in zip(around, inside, strict=True))
        found.append(seen.setdefault(held, len(seen)))
    return np.array(found)


def test_examples_of_a_set__name_the_codes_that_each_row_is_of(lake: Lake) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    summarize(lake, codes=codes_of(WHOLE), **OPTIONS)
    found = rows(lake, "feature_examples", "three")
    right = rows(lake, "feature_examples", codes_of(WHOLE))
    assert set(right["member"]) == {None}
    assert set(found["member"]) == set(SET)
    assert set(found["kind"]) == {"top", "quantile", "random"}
    starts = np.cumsum([0, *(len(planted(part)) for part in PARTS)])
    of = np.array([SET.index(one) for one in found["member"]])
    place = starts[of] + found["row"].to_numpy()  # in the corpus of all
    feature = found["feature"].to_numpy()
    assert found["value"].to_list() == planted(WHOLE)[place, feature].tolist()
    kept = ~lake.codes(codes_of(WHOLE)).rowset.column("is_special")
    assert kept[place].all()
    context = contexts(lake, WHOLE)
    alike = np.bincount(context[kept], minlength=context.max() + 1)
    assert found["n_alike"].to_list() == alike[context[place]].tolist()
    assert alike[context[place]].max() > len(PARTS) * 2  # of the text that all corpora repeat
    shown = found.with_columns(context=pl.Series(context[place]))
    for (_, kind), mine in shown.group_by("feature", "kind"):
        assert mine["context"].n_unique() == len(mine), kind
    order = ["feature", "rank"]
    for kind in ("top", "random"):
        mine = found.filter(kind=kind).sort(order)
        theirs = right.filter(kind=kind).sort(order)
        assert mine.select(order).rows() == theirs.select(order).rows()
        if kind == "top":  # which of equal ones is first, a hash of the row says
            assert mine["value"].to_list() == theirs["value"].to_list()
    asked: dict[str, Any] = {
        "codes": "three",
        "mask": MASK,
        "feature": 1,
        "kind": "top",
        "limit": 3,
    }
    told = lake.query("contexts_of_feature", **asked, before=3, after=3).pl()
    assert told["token"].to_list() == ["the"] * 3
    assert set(told["member"]) <= set(SET)
    own = lake.contexts("three", 1, mask=MASK, limit=3, before=3, after=3)
    assert lake.contexts_of("three", [], mask=MASK) == {}
    assert [(one.row, one.member, one.source_id) for one in own] == [
        *told.select("row", "member", "source_id").rows()
    ]


def test_documents__are_rows_of_their_own_in_each_corpus(lake: Lake) -> None:
    """A document is its own context, so its number alone must not make two of them one."""
    names = []
    for part in PARTS[:2]:
        many, rowset = DOCUMENTS[part], f"{part}@documents"
        whole = {"document": np.arange(many), "char_stop": np.ones(many, int)}
        lake.create_rowset(rowset, corpus=part, columns=whole, kind="document")
        tensor = f"pooled@{part}"
        with lake.create_tensor(tensor, rowset=rowset, width=FEATURES, dtype="float32") as writer:
            writer.append(np.full((many, FEATURES), 2, np.float32))
        names.append(encoded(lake, part, "pooled", f"pooled@{part}", tensor=tensor))
    summarize(lake, codes=names, name="documents", examples=99)
    found = rows(lake, "feature_examples", "documents", "all").filter(feature=3, kind="top")
    right = [
        (name, row)
        for name, part in zip(names, PARTS, strict=False)
        for row in range(DOCUMENTS[part])
    ]
    assert sorted(found.select("member", "row").rows()) == sorted(right)
    assert set(found["n_alike"]) == {1}
    tokens = encoded(lake, PARTS[2], "pooled", "pooled@third")
    with pytest.raises(InputError, match=r"are documents and those of pooled@third tokens of the"):
        summarize(lake, codes=[names[0], tokens], name="both")
    assert [str(fault) for fault in lake.verify()] == []


def test_set__that_means_nothing_is_refused_and_leaves_no_trace(lake: Lake) -> None:
    encoded(lake, PARTS[0], DICTIONARY, "again@first")
    add(lake, "cut", tokenizer="letters")
    lake.create_mask("far", "position > 39")
    lake.create_mask("never", "position < 0")
    summarize(lake, codes=SET[:2], name="taken", **OPTIONS)
    before = state(lake)

    def refused(said: str, codes: Any, name: str | None = "set", **more: Any) -> None:
        with pytest.raises(LakeError, match=said) as raised:
            summarize(lake, codes=codes, name=name, **(OPTIONS | more))
        assert "\n" not in str(raised.value)
        assert state(lake) == before, said

    refused("are of the dictionaries topk:toy:resid and other:toy:resid", [SET[1], OTHERS])
    refused("codes topk:toy:resid@first are given twice", [SET[0], SET[1], SET[0]])
    refused("both over the corpus first", [SET[0], "again@first"])
    refused("the tokenizer words and those of topk:toy:resid@cut", [SET[0], codes_of("cut")])
    refused("no codes 'nothing'", [SET[0], "nothing"])
    refused("no codes 'taken'", "taken", None)
    refused("no row of second@words is under the mask far", SET, mask="far")
    refused("no row of first@words is under the mask never", SET, mask="never")
    refused("no mask", SET, mask="nothing")
    refused("no codes are named", [])
    refused("3 codes are summarized as a set, which has no name yet", SET, None)
    refused("codes are called topk:toy:resid@first", SET, SET[0])
    refused("the set taken is of the dictionary topk", [OTHERS], "taken")
    refused("the set taken is of the dictionary topk", [codes_of("cut")], "taken", mask="all")
    refused("is no name for a set of codes", SET, "a/b")
    refused("no label 'nothing'", SET, source="nothing")
    with pytest.raises(NameTakenError, match="a set of codes is called taken"):
        encoded(lake, PARTS[2], DICTIONARY, "taken")


def test_diff_corpora__of_two_dictionaries_is_refused(set_lake: Lake) -> None:
    newest = set_lake.newest_snapshot()
    with pytest.raises(InputError, match="of the dictionaries topk:toy:resid and other:toy:resid"):
        diff_corpora(set_lake, a=SET[1], b=OTHERS)
    assert set_lake.newest_snapshot() == newest


def test_commands__take_several_codes_and_show_the_set(
    lake: Lake, cli: Cli, tmp_path: Path
) -> None:
    newest = lake.newest_snapshot()
    kept = ("--mask", MASK, "--examples", EXAMPLES)
    for words, part in (
        ((*SET, *kept), "give --name"),
        ((SET[1], OTHERS, "--name", "x", "--weights"), "of the dictionaries"),
        ((*SET, SET[0], "--name", "x"), "is given twice"),
    ):
        result = cli(lake.root, "summarize", *words)
        assert (result.exit_code, part in result.stderr) == (1, True), result.stderr
    assert lake.newest_snapshot() == newest
    ok(cli(lake.root, "summarize", *SET, "--name", "three", *kept))
    listed = ok(cli(lake.root, "ls", "sets"))
    assert all(name in listed for name in ("three", *SET))
    shown = ok(cli(lake.root, "show", "three", 1))
    assert "tokens by count: the ×" in shown
    assert any(f"{name}  " in shown for name in SET)
    asked = ("-p", "codes=three", "-p", f"mask={MASK}", "-p", "feature=1")
    described = ok(cli(lake.root, "sql", "--query", "description_of_feature", *asked))
    assert f"{DICTIONARY} (topk), over a set of codes" in described
    steps = ok(cli(lake.root, "sql", "--query", "lineage", *asked, "--format", "csv"))
    assert all(f",{name}," in steps for name in (*SET, *PARTS))
    assert steps.count("feature_statistics") == 1
    ok(cli(lake.root, "plot", "density", "--codes", "three", "-o", tmp_path / "density"))
    assert [one.codes for one in summaries(lake, "three")] == ["three"]
    with pytest.raises(InputError, match="no codes are summarized"):
        summaries(lake)  # what a page tells of are codes
    with pytest.raises(InputError, match="the set three is not summarized under the mask all"):
        lake.contexts("three", 1)
    with pytest.raises(NotFoundError, match="no codes 'four'"):
        lake.contexts("four", 1)


def test_pipeline__tells_of_its_sets_under_each_mask(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(
        '[corpus]\nname = "first"\n[corpus.source]\npath = "x"\n'
        '[summary]\nmasks = ["all", "no_special"]\ntokens = 3\npairs = ["token"]\n'
        f'[[sets]]\nname = "two"\ncodes = ["{SET[1]}", "{SET[0]}"]\n',
        "utf-8",
    )
    calls: list[tuple[str, Mapping[str, Any]]] = []
    pipeline(lake, file=file, call=lambda verb, _, given: calls.append((verb, given)))
    kept = {"examples": 20, "tokens": 3, "source": None, "workers": None, "scheduler": None}
    assert [given for verb, given in calls if verb == "summarize"] == [
        {"codes": [SET[1], SET[0]], "name": "two", "mask": mask} | kept
        for mask in ("all", "no_special")
    ]
    assert [given for verb, given in calls if verb == "summarize_pairs"] == []
    calls.clear()
    asked = file.read_text("utf-8")
    file.write_text(asked.replace("[[sets]]", f'records = ["{SET[2]}", "two"]\n[[sets]]'), "utf-8")
    pipeline(lake, file=file, call=lambda verb, _, given: calls.append((verb, given)))
    assert [given for verb, given in calls if verb == "summarize_pairs"] == [
        {"codes": name, "mask": mask, "level": "token"}
        for name in (SET[2], "two")
        for mask in ("all", "no_special")
    ]
