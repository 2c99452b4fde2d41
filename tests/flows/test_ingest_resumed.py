"""Cutting a corpus into rows goes on after the documents that were kept when it was killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actlake.flows.extraction import tokens
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage import spool
from actlake.storage.errors import CorpusError
from actlake.storage.lake import Lake
from tests.flows.scenes import content


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
