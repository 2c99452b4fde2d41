"""Cutting a corpus into rows goes on after the documents that were kept when it was killed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actlake.flows import ingest as ingest_module
from actlake.flows import row_blocks
from actlake.flows.delete import delete
from actlake.flows.extraction import tokens
from actlake.flows.gc import gc
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.flows.withdraw import withdraw
from actlake.storage import corpora, spool
from actlake.storage.errors import CorpusError, InputError
from actlake.storage.lake import Lake
from tests.flows.contents import content


class Killed:
    """Blocks that are taken in, and a kill before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.before: int | None = None
        contents = spool._contents

        def counting(block: Any) -> Any:
            if self.taken == self.before:
                raise KeyboardInterrupt
            self.taken += 1
            return contents(block)

        monkeypatch.setattr(spool, "SAVE_SECONDS", -1.0)
        monkeypatch.setattr(spool, "_contents", counting)


@pytest.mark.parametrize(
    "cut", [{"windowing": "packed", "overlap": 3}, {"overlap": 5}, {"rows": "third=position % 3=0"}]
)
def test_rows__are_those_of_one_that_was_not_killed(
    tiny: Callable[[str], Path],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cut: dict[str, Any],
) -> None:
    killed = Killed(monkeypatch)
    model = str(tiny("llama"))

    def made(name: str) -> Lake:
        lake = Lake.create(tmp_path / name)
        ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
        return lake

    def cutting(lake: Lake) -> None:
        ingest_documents(lake, corpus="c")
        ingest_tokens(lake, corpus="c", source=model, window=16, width_hint=1 << 20, **cut)

    right, lake = made("right"), made("killed")
    cutting(right)
    needed, killed.taken = killed.taken, 0
    kills = 0
    for before in range(1, needed, 4):
        killed.before = before
        with pytest.raises(KeyboardInterrupt):
            cutting(lake)
        kills += 1
        assert killed.taken == before  # and nothing a second time
    killed.before = None
    cutting(lake)
    assert killed.taken == needed
    assert kills > 2
    assert "goes on after" in capsys.readouterr().err
    assert content(lake) == content(right)
    assert not [*(lake.root / "rowsets").glob(".*")]
    assert [*lake.verify()] == []


def begun(lake: Lake, model: str, killed: Killed, before: int, **cut: Any) -> None:
    """Cut the corpus until that block is to be taken in."""
    killed.taken, killed.before = 0, before
    with pytest.raises(KeyboardInterrupt):
        ingest_tokens(lake, corpus="c", source=model, **cut)
    killed.before = None
    assert [*(lake.root / "rowsets").glob(".*/segments.json")]


def test_withdrawn_text__does_not_come_back(
    lake: Lake, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited on another machine, or beside a killed withdrawal, is not gone on with."""
    killed, model = Killed(monkeypatch), str(tiny("llama"))
    begun(lake, model, killed, 6, window=9)
    [waits] = (lake.root / "rowsets").glob(".*")
    elsewhere = waits.rename(tmp_path / "elsewhere")
    withdraw(lake, corpus="c", documents=[3], reason="asked")
    elsewhere.rename(waits)
    with pytest.raises(InputError, match=r"document 3 of corpus c was withdrawn, .*; ingest the"):
        ingest_tokens(lake, corpus="c", source=model, window=9)
    monkeypatch.setattr(ingest_module, "refuse_withdrawn_text", lambda *_: None)
    with pytest.raises(CorpusError):  # the spool is not taken up, and without it there is no text
        ingest_tokens(lake, corpus="c", source=model, window=9)
    ingest_tokens(lake, corpus="c", source=model)  # which is there
    documents = lake.rowset(ingest_documents(lake, corpus="c"))
    assert documents.withdrawn == (3,)
    assert documents.column("char_stop")[3] == 0
    said = "SELECT 1 FROM tokens WHERE document = 3 AND token_id IS NOT NULL"
    assert [*lake.sql(said).rows()] == []
    assert [*lake.verify()] == []


def test_upkeep__leaves_what_is_gone_on_with(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, model = Killed(monkeypatch), str(tiny("llama"))
    begun(lake, model, killed, 6, window=9)
    [waits] = (lake.root / "rowsets").glob(".*")
    for path in (waits, *waits.rglob("*")):
        os.utime(path, (0, 0))
    whole = spool._whole

    def meanwhile(*given: Any) -> Any:
        gc(Lake.open(lake.root), grace_hours=0)
        yield from whole(*given)

    monkeypatch.setattr(spool, "_whole", meanwhile)
    killed.taken = 0
    name = ingest_tokens(lake, corpus="c", source=model, window=9)
    assert killed.taken == 11 - 6
    assert lake.rowset(name).rows
    assert [*lake.verify()] == []
    monkeypatch.setattr(spool, "_whole", whole)
    begun(lake, model, killed, 6, window=10)
    [waits] = (lake.root / "rowsets").glob(".*")
    gc(lake, grace_hours=0)
    assert not waits.exists()


def test_chosen_rows__of_a_parent_that_was_made_again_begin_anew(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, model = Killed(monkeypatch), str(tiny("llama"))
    cut: dict[str, Any] = {"rows": "third=position % 3 = 0", "window": 9}
    ingest_tokens(lake, corpus="c", source=model, window=9, width_hint=1 << 20)
    begun(lake, model, killed, 2, width_hint=1 << 20, **cut)
    delete(lake, kind="rowset", name="c@tiny-llama:9")
    ingest_tokens(lake, corpus="c", source=model, window=9, width_hint=1)
    name = ingest_tokens(lake, corpus="c", source=model, width_hint=1 << 20, **cut)
    expected = "SELECT count(*) FROM tokens WHERE rowset = $whole AND position % 3 = 0"
    [(rows,)] = lake.sql(expected, whole="c@tiny-llama:9").rows()
    assert lake.rowset(name).rows == rows


def test_document_without_tokens__leaves_no_spool(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SAVE_SECONDS", -1.0)
    encoded = tokens._encoded

    def failing(*given: Any) -> Any:
        yield from list(encoded(*given))[:3]
        raise CorpusError("document 3 gives no tokens")

    monkeypatch.setattr(tokens, "_encoded", failing)
    with pytest.raises(CorpusError):
        ingest_tokens(lake, corpus="c", source=str(tiny("llama")), window=9)
    assert not [*(lake.root / "rowsets").glob(".*")]


@pytest.mark.parametrize(
    ("windowing", "most"),
    [("document", {"PIECE_CHARACTERS": 100}), ("packed", {"PIECE_LABELS": 1})],
)
def test_pieces__make_the_same_rows_however_small_they_are(
    tiny: Callable[[str], Path],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    windowing: str,
    most: dict[str, int],
) -> None:
    model = str(tiny("llama"))

    def made(name: str) -> Lake:
        lake = Lake.create(tmp_path / name)
        ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
        ingest_tokens(lake, corpus="c", source=model, window=16, windowing=windowing)
        return lake

    whole = made("whole")
    for name, value in most.items():
        monkeypatch.setattr(corpora, name, value)
    monkeypatch.setattr(row_blocks, "BLOCK_DOCUMENTS", 2)
    pieces = made("pieces")

    def files(lake: Lake) -> int:
        return len([*(lake.root / "tables/main/documents").glob("*.parquet")])

    assert files(whole) == 1 < files(pieces)
    tables = {"documents": "document", "labels": "ALL", "tokens": '"row"'}
    for table, key in tables.items():
        one, other = (
            lake.sql(f"SELECT * FROM {table} ORDER BY {key}").arrow() for lake in (whole, pieces)
        )
        assert one.equals(other)
    assert [*pieces.verify()] == []
