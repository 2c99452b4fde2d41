"""The flows that are attacked, each with a lake that it starts from, wherever lakes may be."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

import pyarrow as pa

from actlake import sql
from actlake.flows import train as train_module
from actlake.flows.command import open_or_create
from actlake.flows.execution import PREFECT_SETTINGS, call_inline
from actlake.flows.sources import Source
from actlake.storage import spool
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from tests.flows.contents import content, exported
from tests.flows.places import Folder, Place
from tests.flows.tiny import save_model, write_documents
from tests.flows.victims import Ended, run
from tests.storage.conformance.appending import append_rows

Do = Callable[..., object]
"""Carries a verb out: ``do(verb, path, **parameters)``."""

STEPS_OF_TRAINING = 24
DRIVEN = ("ingest", "extract", "train", "encode", "summarize", "maintain", "export")
"""Scenes whose flow is carried out by a ``Do``, which it takes before its lake."""
IN_STEPS = ("capture", "encode", "summarize")
"""Steps that are tasks under Prefect."""
LENGTHS = (40, *(1, 2, 3) * 7, 2, 2)
"""Words of documents that fall into every split, one of them longer than a window."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A flow and the lake that it starts from; copy that before it is written to."""

    name: str
    flow: Callable[..., object]
    before: str | None
    """The scene whose flow leaves the lake that this one starts from; None where it makes one."""
    work: str | None = None
    """The step that is done once a shard, or once a batch."""
    in_flight: int = 1
    """Shards or batches that are done and not yet kept, at most."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a flow comes to that nothing is done to."""

    ended: Ended
    content: dict[str, Any]


def creating(path: Path) -> None:
    open_or_create(path, lambda _lake, _new: None).close()


def creating_at(where: Place, path: Path) -> None:
    where.create(path).close()


def creating_old(where: Place, path: Path) -> None:
    """A lake as it was made before some tables and columns were known, with a corpus."""
    older = [file for file in sql.names("schema") if int(file[:4]) <= 16]
    names, of, nine = sql.names, {"corpus": "old"}, range(9)
    rows: dict[str, list[dict[str, Any]]] = {
        "corpora": [of | {"fingerprint": "f", "documents": 9, "source": "then", "run": "r"}],
        "documents": [of | {"document": n, "source_id": f"{n}", "text": f"w{n}"} for n in nine],
        "labels": [of | {"label": "year", "document": n, "value_real": 0.5 * n} for n in nine],
    }
    known = mock.patch.object(sql, "names", lambda kind: older if kind == "schema" else names(kind))
    with known, closing(where.create(path)) as lake:
        for table, those in rows.items():
            append_rows(lake, [(table, pa.Table.from_pylist(those, arrow_schema(table)))])
        # By its columns of then, of which there were fewer.
        insert = """
            INSERT INTO runs BY NAME SELECT
                'r' AS run, 'k' AS key, 'ingest' AS flow, '{}' AS parameters, 'completed' AS state,
                now()::TIMESTAMP AS started, started AS ended, 1 AS snapshot_before,
                '{}' AS inputs, '0' AS code_version, 'h' AS host
        """
        lake._catalog.commit(lambda now: now.execute(insert), "a run")


def opening(path: Path) -> None:
    Lake.open(path).close()


def ingesting(documents: Path, source: Path, do: Do, path: Path) -> None:
    spool.SAVE_SECONDS = 0.0
    do("ingest", path, corpus="c", source=Source(path=str(documents), id="id"))
    do("ingest_tokens", path, corpus="c", source=str(source))


def extracting(source: Path, do: Do, path: Path) -> None:
    options: dict[str, Any] = {"token_budget": 96, "torch_threads": 1, "corpus": "c"}
    do("extract", path, source=str(source), sites=["resid_post.1", "mlp_act.0"], **options)


def training(do: Do, path: Path) -> None:
    train_module.CHECKPOINT_SECONDS = 0.0
    options: dict[str, Any] = {"k": 4, "n_features": 32, "batch_rows": 32, "torch_threads": 1}
    tensor = "tiny-llama:resid_post.1@c"
    do("train", path, tensor=tensor, dictionary="d", steps=STEPS_OF_TRAINING, **options)


def encoding(do: Do, path: Path) -> None:
    do("encode", path, dictionary="d")


def summarizing(do: Do, path: Path) -> None:
    do("summarize", path, codes="d@c", mask="no_special")


def maintaining(do: Do, path: Path) -> None:
    do("maintain", path, verify_parts=0, expire_days=0, keep_snapshots=1, grace_hours=0)


def exporting(do: Do, path: Path) -> None:
    do("export", path, folder=str(exported(path)), features=2)


def inline(verb: str, path: Path, **parameters: Any) -> None:
    with closing(Lake.open(path)) as lake:
        call_inline(verb, lake, parameters)


def by_prefect(api: str, verb: str, path: Path, **parameters: Any) -> None:
    """By the Prefect server at ``api``."""
    os.environ.update(PREFECT_SETTINGS, PREFECT_API_URL=api)
    from actlake.flows.prefect_flows import FLOWS

    FLOWS[verb](lake=str(path), **parameters)


class Stage:
    """The scenes, in a folder that holds a lake of each, made when it is asked for."""

    def __init__(self, folder: Path, where: Place | None = None) -> None:
        self.where = where or Folder()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        documents = write_documents(folder / "documents.jsonl", LENGTHS)
        model = save_model("llama", folder / "tiny-llama")
        making = creating if where is None else partial(creating_at, where)
        found = (
            Scene("create", making, None),
            Scene("create old", partial(creating_old, self.where), None),
            Scene("migrate", opening, "create old"),
            Scene("ingest", partial(ingesting, documents, model), "create", "spool"),
            Scene("extract", partial(extracting, model), "ingest", "capture"),
            Scene("train", training, "extract", "train"),
            Scene("encode", encoding, "train", "encode"),
            # Two of its few shards are a step, which is committed together.
            Scene("summarize", summarizing, "encode", "summarize", in_flight=2),
            Scene("maintain", maintaining, "encode"),
            Scene("export", exporting, "summarize"),
        )
        self._scenes = {one.name: one for one in found}
        self._forking = Lock()
        self._ended: dict[str, Ended] = {}
        self._right: dict[str, Right] = {}

    def scene(self, name: str, do: Do = inline) -> Scene:
        """A scene whose flow takes nothing but its lake."""
        scene = self._scenes[name]
        if name not in DRIVEN:
            return scene
        # One is at work while another is written, or committed.
        more = 2 if scene.work in IN_STEPS else 1
        flow = partial(scene.flow, do)
        return replace(scene, flow=flow, in_flight=scene.in_flight * more)

    def start(self, name: str, place: Path) -> Path:
        """The lake that a scene starts from, copied to ``place``."""
        before = self._scenes[name].before
        place.parent.mkdir(parents=True, exist_ok=True)
        if before is not None:
            lake = self._lake(before)
            with self._forking:  # a database is copied by one at a time
                self.where.fork(lake, place)
        return place

    def right(self, name: str) -> Right:
        """What the flow of a scene comes to by itself."""
        if name not in self._right:
            with closing(Lake.open(self._lake(name))) as lake:
                self._right[name] = Right(self._ended[name], content(lake))
        return self._right[name]

    def _lake(self, name: str) -> Path:
        place = self._folder / name / "lake"
        if name not in self._ended:
            self._ended[name] = run(self.scene(name).flow, self.start(name, place))
        return place
