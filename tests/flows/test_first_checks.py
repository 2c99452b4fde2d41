"""A lake is made only once nothing that can be told beforehand is wrong."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from actlake.flows import first_checks
from actlake.flows.sources import Source
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok, refused
from tests.flows.extraction.conftest import toy_tokenizer

SITE = "m:resid_post.1"
Tiny = Callable[[str], Path]

PIPELINE = """
[corpus]
name = "c"
[corpus.source]
path = "{source}"
[documents]
[[masks]]
name = "late"
predicate = "{predicate}"
[[models]]
name = "m"
source = "{model}"
sites = ["{site}"]
{more}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Good documents, and three files of bad ones."""
    good = [{"text": f"The {n}th of them."} for n in range(3)]
    for name, rows in {"good": good, "none": [], "blank": [*good, {"text": "  "}]}.items():
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gone.jsonl",), "gone.jsonl"),
        (("none.jsonl",), "has no documents"),
        (("blank.jsonl",), "has no text"),
        (("good.jsonl", "--text", "body"), "body"),
        (("good.jsonl", "--where", "nothing > 3"), "nothing"),
        (("good.jsonl", "--corpus", "../c"), "corpus"),
        (("good.jsonl", "--corpus", "c" * 115, "--documents"), "no name for a rowset"),
        (("good.jsonl", "--model", "{tiny}", "--model", "{other}"), "both be called tiny-llama"),
        (("good.jsonl", "--model", "no/model"), "no/model"),
        (("good.jsonl", "--model", "{tiny}", "--window", "9999"), "smaller --window"),
        (("good.jsonl", "--model", "{tiny}", "--window", "8", "--overlap", "8"), "overlap"),
        (("good.jsonl", "--model", "{tiny}", "--rows", "nothing"), "no mask 'nothing'"),
        (("good.jsonl", "--model", "{tiny}", "--rows", "late=bogus > 1"), "bogus"),
    ],
)
def test_ingest__that_is_refused_leaves_no_lake(
    sources: Path, tiny: Tiny, cli: Cli, words: tuple[str, ...], message: str
) -> None:
    other = sources / "other" / "tiny-llama"
    shutil.copytree(tiny("llama"), other)
    toy_tokenizer(0, 1).save_pretrained(other)
    source, *others = (word.format(tiny=tiny("llama"), other=other) for word in words)
    corpus = () if "--corpus" in others else ("--corpus", "c")
    before = sorted(sources.iterdir())
    assert message in refused(cli(sources / "lake", "ingest", sources / source, *corpus, *others))
    assert sorted(sources.iterdir()) == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("site", "resid_pots.2", "did you mean resid_post.2"),
        ("more", f"[[dictionaries]]\nmethod = 'topk'\ntensor = '{SITE}'\nk = 70", "k is 70 and a"),
        ("more", f"[[dictionaries]]\nmethod = 'pca'\ntensor = '{SITE}'\nk = 33", "k is 33 and a"),
        ("more", 'device = "abacus"', "no device 'abacus'"),
        ("source", "gone.jsonl", "gone.jsonl"),
        ("source", "blank.jsonl", "has no text"),
        ("predicate", "bogus > 1", "bogus"),
        ("model", "no/model", "no/model"),
        ("site", "resid_pots.1", "did you mean resid_post.1"),
        ("site", "pooled.mode", "pooled.mode"),
        ("more", "window = 9999", "9999"),
        ("more", '[summary]\nmasks = ["all"]\ntoken_sets = "gone.toml"', "gone.toml"),
    ],
)
def test_pipeline__that_is_refused_changes_nothing(
    sources: Path, tiny: Tiny, cli: Cli, key: str, value: str, message: str
) -> None:
    good = {"source": "good.jsonl", "predicate": "position > 1", "model": tiny("llama")}
    said = good | {"site": "resid_post.1", "more": "", key: value}
    file = sources / "pipeline.toml"
    file.write_text(PIPELINE.format(**said), "utf-8")
    if value.endswith(("pots.2", "70")):  # where there is a lake, too
        ok(cli(sources / "lake", "init"))
    before, snapshot = sorted(sources.iterdir()), _snapshot(sources / "lake")
    assert message in refused(cli(sources / "lake", "pipeline", file))
    assert sorted(sources.iterdir()) == before
    assert _snapshot(sources / "lake") == snapshot


def _snapshot(path: Path) -> int | None:
    if not path.exists():
        return None
    with closing(Lake.open(path)) as lake:
        return lake.newest_snapshot()


def test_what_is_right__makes_the_lake(sources: Path, tiny: Tiny, cli: Cli) -> None:
    good = {"source": "good.jsonl", "predicate": "position > 1", "model": tiny("llama")}
    file = sources / "pipeline.toml"
    file.write_text(PIPELINE.format(**good, site="resid_post.1", more=""), "utf-8")
    ok(cli(sources / "lake", "pipeline", file))
    assert "m:resid_post.1@c" in ok(cli(sources / "lake", "ls", "tensors"))


def test_place__that_cannot_be_one_is_told_before_the_source_is_read(
    sources: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_checks, "check_corpus", lambda *_, **__: pytest.fail("was read"))
    (sources / "taken").mkdir()
    (sources / "taken" / "file").write_text("mine")
    line = ("ingest", sources / "good.jsonl", "--corpus", "c")
    assert "not empty" in refused(cli(sources / "taken", *line))


def test_lake__that_another_makes_meanwhile_is_taken(
    sources: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = first_checks.check_corpus

    def slow(corpus: str, source: Source, *, documents: bool) -> None:
        Lake.create(sources / "lake").close()
        check(corpus, source, documents=documents)

    monkeypatch.setattr(first_checks, "check_corpus", slow)
    ok(cli(sources / "lake", "ingest", sources / "good.jsonl", "--corpus", "c"))
    assert "c" in ok(cli(sources / "lake", "ls", "corpora"))
    assert not [*sources.glob(".new-lake-*")]
