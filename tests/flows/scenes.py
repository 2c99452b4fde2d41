"""The flows that are attacked, each with a lake that it starts from, and what must hold after."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from actlake import sql
from actlake.flows import train as train_module
from actlake.flows.command import open_or_create
from actlake.flows.encode import encode
from actlake.flows.execution import PREFECT_SETTINGS
from actlake.flows.export import export
from actlake.flows.extract import extract
from actlake.flows.ingest import ingest, ingest_tokens
from actlake.flows.maintain import maintain
from actlake.flows.sources import Source
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage import spool
from actlake.storage.committed import committed_files
from actlake.storage.fields import TABLES, arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.retention import end_dead_runs, remove_unnamed
from actlake.storage.table_files import live_files
from tests.flows.tiny import save_model, write_documents
from tests.flows.victims import Ended, Flow, Victim, run
from tests.storage.conformance.appending import append_rows

STEPS_OF_TRAINING = 24
LENGTHS = (40, *(1, 2, 3) * 7, 2, 2)
"""Words of documents that fall into every split, one of them longer than a window."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A flow and the lake that it starts from; copy that before it is written to."""

    name: str
    flow: Flow
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


def creating_old(path: Path) -> None:
    """A lake as it was made before some tables and columns were known, with a corpus."""
    older = [file for file in sql.names("schema") if int(file[:4]) <= 16]
    names, of, nine = sql.names, {"corpus": "old"}, range(9)
    rows: dict[str, list[dict[str, Any]]] = {
        "corpora": [of | {"fingerprint": "f", "documents": 9, "source": "then", "run": "r"}],
        "documents": [of | {"document": n, "source_id": f"{n}", "text": f"w{n}"} for n in nine],
        "labels": [of | {"label": "year", "document": n, "value_real": 0.5 * n} for n in nine],
    }
    known = mock.patch.object(sql, "names", lambda kind: older if kind == "schema" else names(kind))
    with known, closing(Lake.create(path)) as lake:
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


def ingesting(documents: Path, source: Path, path: Path) -> None:
    spool.SAVE_SECONDS = 0.0
    lake = Lake.open(path)
    ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
    ingest_tokens(lake, corpus="c", source=str(source))


def extracting(source: Path, path: Path) -> None:
    lake = Lake.open(path)
    sites = ["resid_post.1", "mlp_act.0"]
    extract(lake, source=str(source), sites=sites, corpus="c", token_budget=96, torch_threads=1)


def extracting_under_prefect(api: str, source: Path, path: Path) -> None:
    """As ``extracting``, by the Prefect server at ``api``."""
    os.environ.update(PREFECT_SETTINGS, PREFECT_API_URL=api)
    from actlake.flows.prefect_flows import FLOWS

    options: dict[str, Any] = {"token_budget": 96, "torch_threads": 1, "corpus": "c"}
    sites = ["resid_post.1", "mlp_act.0"]
    FLOWS["extract"](lake=str(path), source=str(source), sites=sites, **options)


def training(path: Path) -> None:
    train_module.CHECKPOINT_SECONDS = 0.0
    options: dict[str, Any] = {"k": 4, "n_features": 32, "batch_rows": 32, "torch_threads": 1}
    tensor = "tiny-llama:resid_post.1@c"
    train(Lake.open(path), tensor=tensor, dictionary="d", steps=STEPS_OF_TRAINING, **options)


def encoding(path: Path) -> None:
    encode(Lake.open(path), dictionary="d")


def summarizing(path: Path) -> None:
    summarize(Lake.open(path), codes="d@c", mask="no_special")


def maintaining(path: Path) -> None:
    maintain(Lake.open(path), verify_parts=0, expire_days=0, keep_snapshots=1, grace_hours=0)


def exporting(path: Path) -> None:
    export(Lake.open(path), exported(path), features=2)


def exported(lake: Path) -> Path:
    """Where ``exporting`` writes to."""
    return lake.with_name(f"{lake.name}-export")


class Stage:
    """The scenes, in a folder that holds a lake of each, made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        documents = write_documents(folder / "documents.jsonl", LENGTHS)
        model = save_model("llama", folder / "tiny-llama")
        found = (
            Scene("create", creating, None),
            Scene("create old", creating_old, None),
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
        self.scenes = {one.name: one for one in found}
        self.model = model
        self._ended: dict[str, Ended] = {}
        self._right: dict[str, Right] = {}

    def start(self, name: str, place: Path) -> Path:
        """The lake that a scene starts from, copied to ``place``."""
        before = self.scenes[name].before
        if before is not None:
            shutil.copytree(self._lake(before), place)
        return place

    def right(self, name: str) -> Right:
        """What the flow of a scene comes to by itself."""
        if name not in self._right:
            with closing(Lake.open(self._lake(name))) as lake:
                self._right[name] = Right(self._ended[name], content(lake))
        return self._right[name]

    def _lake(self, name: str) -> Path:
        place = self._folder / name
        if name not in self._ended:
            self._ended[name] = run(self.scenes[name].flow, self.start(name, place))
        return place


def resumed(scene: Scene, place: Path, right: Right, *before: Ended) -> list[str]:
    """Run the flow once more after runs that ended badly; what then is not as it must be."""
    now = datetime.now(UTC).replace(tzinfo=None)
    last = Victim(scene.flow, place).end()
    if last.error is not None:
        return [f"the next run failed: {last.error}"]
    with closing(Lake.open(place)) as lake:
        wrong = [*_wasted(lake, scene, right, [*before, last], now)]
        with lake.run("test", {"at": str(now)}, {}) as cleaning:
            end_dead_runs(cleaning)
            remove_unnamed(cleaning, grace=timedelta(0))
        wrong += [f"{one} is left" for one in leftovers(lake)]
        wrong += [str(one) for one in lake.verify()]
        found = content(lake)
        wrong += [f"{one} differs" for one in found if found[one] != right.content.get(one)]
        wrong += [f"{one} is missing" for one in right.content.keys() - found.keys()]
        states = {str(state) for (state,) in lake.sql("SELECT state FROM runs").rows()}
        wrong += [f"a run is {one}" for one in states - {"completed", "crashed", "failed"}]
        pins = [why for _, why in lake._claims.pins() if why.startswith("read by run")]
        wrong += [f"a snapshot stays {one}" for one in pins]
    return wrong


def _wasted(
    lake: Lake, scene: Scene, right: Right, ended: Sequence[Ended], resumed_at: datetime
) -> Iterator[str]:
    """What was done more than once, beyond what was in flight when something was done to it."""
    if scene.work is None:
        return
    planned = right.ended.calls[scene.work]
    done = sum(one.calls.get(scene.work, 0) for one in ended)
    if done > planned + scene.in_flight * (len(ended) - 1):
        yield f"{done} times {scene.work} where {planned} are enough, in {len(ended)} runs"
    if scene.work in ("train", "spool"):  # what they keep is not in tables
        return
    table = "partials" if scene.name == "summarize" else "shards"
    query = f"""
        SELECT count(DISTINCT shard) FROM {table} INNER JOIN runs USING (run)
        WHERE flow = $flow AND started < $at
    """
    flow = scene.name.partition(" ")[0]
    [(committed,)] = lake.sql(query, flow=flow, at=resumed_at).rows()
    if ended[-1].calls.get(scene.work, 0) != planned - int(str(committed)):
        yield f"{committed} of {planned} shards were committed, {ended[-1].calls} done again"


def leftovers(lake: Lake) -> list[str]:
    """Files and folders that the lake does not name and that are none of its own few."""
    files = committed_files(lake._connection(), lake.store, lake._claims.files())
    named = {one.path for one in files}
    own = ("catalog.", "claims.sqlite", "backups")
    found = []
    for path in sorted(lake.root.rglob("*")):
        inside = path.relative_to(lake.root).as_posix()
        aside = path.name.startswith(".") and path.suffix == ".tmp"
        if aside or (path.is_file() and inside not in named and not inside.startswith(own)):
            found.append(inside)
    beside = lake.root.parent.glob(f".{exported(lake.root).name}.*")
    return [*found, *(one.name for one in beside)]


def content(lake: Lake) -> dict[str, Any]:
    """All that a lake holds, and its export, without what differs from one lake to the next."""
    connection = lake._connection()

    def rows(query: str, **parameters: object) -> list[Any]:
        return connection.execute(query, parameters or None).fetchall()

    found: dict[str, Any] = {
        table: table_rows(lake, table) for table in TABLES.keys() - {"runs", "migrations", "shards"}
    }
    found["shards"] = rows(
        """
        SELECT o.name, s.* EXCLUDE (owner, run) FROM shards AS s INNER JOIN (
            SELECT id, tensor AS name FROM tensors
            UNION ALL SELECT id, codes FROM codes UNION ALL SELECT id, rowset FROM rowsets
        ) AS o ON o.id = s.owner ORDER BY ALL
        """
    )
    found["files of postings"] = len(live_files(rows, "postings"))
    folders = rows(
        """
        SELECT tensor, path FROM tensors UNION ALL SELECT codes, path FROM codes
        UNION ALL SELECT rowset, path FROM rowsets
        UNION ALL SELECT dictionary, path FROM dictionaries
        """
    )
    for name, folder in folders:
        for file in (one for one in (lake.root / folder).rglob("*") if one.is_file()):
            inside = file.relative_to(lake.root / folder).as_posix()
            found[f"{folder.partition('/')[0]} {name}: {inside}"] = _hash(file)
    for file in exported(lake.root).rglob("*"):
        inside = file.relative_to(exported(lake.root)).as_posix()
        found[f"export: {inside}"] = _exported(file)
    return found


def _exported(file: Path) -> str:
    """What a file says, as far as it does not say when it was made."""
    if file.stem in ("runs", "run_log"):
        return ""
    if file.suffix == ".parquet":
        return hashlib.sha256(repr(pq.read_table(file).to_pylist()).encode()).hexdigest()
    return _hash(file) if file.suffix in (".csv", ".png", ".svg") else ""


def table_rows(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table without what differs between two lakes: runs and generated ids."""
    kept = [name for name in arrow_schema(table).names if name not in ("run", "id", "path")]
    columns = ", ".join(f'"{name}"' for name in kept)
    query = f"SELECT {columns} FROM {table} ORDER BY ALL"
    return lake._connection().execute(query).fetchall()


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
