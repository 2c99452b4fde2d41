"""export: the lake at one snapshot as files that need no actlake: tables, plots and a page."""

import json
import shutil
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from actlake import sql
from actlake.flows.export_record import RECORD, claim_on, read_record, reason, release_pins
from actlake.flows.export_tables import DATABASE, TABLES_FOLDER, Snapshot, TableReader, heading
from actlake.flows.gc import catalog_of
from actlake.flows.progress import progress, say
from actlake.flows.summaries import summaries
from actlake.storage.claims import Claims
from actlake.storage.duck import one_line
from actlake.storage.durable import (
    disk_error,
    flush,
    publish_folder,
    staging_path,
    writing,
)
from actlake.storage.errors import InputError
from actlake.storage.handle import unreadable
from actlake.storage.lake import Lake
from actlake.storage.run import claimed
from actlake.storage.settings import FOLDERS, actlake_version

__all__ = ["export"]

README, PLOTS_FOLDER = "README.txt", "plots"
PAGE, REPORT = "features.html", "report.html"
CSV_ROWS = 1_000_000
"""Of the largest table that is also written as CSV: what a spreadsheet takes."""
MOST_SNAPSHOTS = 1 << 40

PLOTS = {
    "fvu": "unexplained variance of each dictionary on held-out rows, and of its baselines",
    "density": "how often the features of each codes fire",
    "l0": "how many features of each codes fire on a row",
    "front": "unexplained variance of each dictionary against features a row",
    "matches": "scores of best partners across codes against those by chance",
    "layers": "similarity of tensors",
    "hypotheses": "effects of hypotheses on held-out groups",
}
ON_PAGE = ("fvu", "density", "l0")


def export(
    lake: Lake, folder: str | Path, *, features: int = 20, mask: str | None = None
) -> list[Path]:
    """Write everything into ``folder``, all at one snapshot; its files, ``README.txt`` among them.

    features
        On the page, over all codes together.
    mask
        Of the statistics that the plots and the page show; by default each codes' newest.

    Waits while another process exports to the folder. An earlier export of the same lake is
    replaced by the whole new one, or stays as it is; the same snapshot with the same arguments is
    not written twice. The snapshot stays pinned for as long as
    the export is there to be asked about; pins of exports that are gone are released. InputError
    for a folder that holds anything else.
    """
    target = Path(folder).expanduser().resolve()
    if features < 1:
        raise InputError(f"a page cannot show {features} features; give 1 or more")
    release_pins(lake)
    with (
        catalog_of(lake) as (catalog, claims),
        claimed(catalog, claims, claim_on(target)),
        closing(lake.at(lake.newest_snapshot())) as reading,
    ):
        if mask is not None:
            summaries(reading, mask=mask)
        earlier = _earlier(lake, target)
        number = reading.newest_snapshot()
        arguments = {
            "lake": lake.settings.lake,
            "snapshot": number,
            "committed": _committed(reading, number),
            "features": features,
            "mask": mask,
            "actlake_version": actlake_version(),
        }
        if earlier.get("arguments") == arguments and _whole(target, earlier["files"]):
            claims.pin(number, reason(number, target))  # a restored backup may not have it
            say(f"export: {target} found complete at snapshot {number}")
        else:
            _replace(reading, claims, target, arguments, earlier)
    return sorted(target / name for name in read_record(target)["files"])


def _committed(reading: Lake, snapshot: int) -> str:
    """When the snapshot was made, UTC: after a restore, the same number comes a second time."""
    known = reading.snapshots(MOST_SNAPSHOTS)
    [time] = known.filter(pc.field("snapshot") == snapshot)["time"].to_pylist()
    return str(time)


def _earlier(lake: Lake, target: Path) -> dict[str, Any]:
    """The record of the export in ``target``; empty if there is nothing at all."""
    inside = target.relative_to(lake.root).parts if target.is_relative_to(lake.root) else ("",)
    if inside[:1] in {(), *((name,) for name in FOLDERS)}:
        raise InputError(f"{target} is part of the lake itself; export to another folder")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return {}
    record = read_record(target)
    if not record:
        raise InputError(f"{target} holds something else than an export; name another folder")
    if record["arguments"]["lake"] != lake.settings.lake:
        raise InputError(f"{target} holds the export of another lake; name another folder")
    known = {RECORD, *record["files"]}
    for path in sorted(target.rglob("*")):
        if not path.is_dir() and path.relative_to(target).as_posix() not in known:
            raise InputError(f"{path} is no part of the export that would be replaced; move it")
    return record


def _whole(target: Path, files: Mapping[str, int]) -> bool:
    """Whether every file is there with the size that it was written with."""
    paths = {target / name: size for name, size in files.items()}
    return all(path.is_file() and path.stat().st_size == paths[path] for path in paths)


def _replace(
    reading: Lake,
    claims: Claims,
    target: Path,
    arguments: Mapping[str, Any],
    earlier: Mapping[str, Any],
) -> None:
    number = int(arguments["snapshot"])
    before = earlier["arguments"]["snapshot"] if earlier else None
    claims.pin(number, reason(number, target))
    staged = staging_path(target)
    try:
        _clear(target)
        try:
            staged.mkdir(parents=True)
        except OSError as error:
            what = str(error.strerror).lower()
            raise InputError(
                f"cannot write beside {target}: {what}; name another folder"
            ) from error
        with writing(target):
            try:
                _write(reading, claims, staged, arguments)
            except duckdb.Error as error:
                raise disk_error(target, one_line(error)) or unreadable(error) from error
            _swap(staged, target)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if before != number:
            claims.unpin(reason(number, target))
        raise
    if before not in (None, number):
        claims.unpin(reason(int(before), target))


def _clear(target: Path) -> None:
    """Remove what killed exports to ``target`` left beside it; we hold the claim on it."""
    if target.parent.is_dir():
        for path in target.parent.iterdir():
            if path.name.startswith(f".{target.name}.") and path.suffix == ".tmp":
                shutil.rmtree(path, ignore_errors=True)


def _swap(staged: Path, target: Path) -> None:
    """Give ``staged`` the name ``target``: killed in between it leaves none, never half of one."""
    for path in staged.rglob("*"):  # before there is a moment without an export
        flush(path)
    old = staging_path(target)
    if target.exists():
        target.rename(old)
    try:
        publish_folder(staged, target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(reading: Lake, claims: Claims, folder: Path, arguments: Mapping[str, Any]) -> None:
    tables = TableReader(reading.store, claims, int(arguments["snapshot"]))
    try:
        rows_of_tables = tables.rows_of_tables()
        facts = {
            "lake": reading.root.name,
            "lake_id": reading.settings.lake,
            "snapshot": str(tables.snapshot.number),
            "committed": tables.snapshot.committed,
            "exported": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "actlake_version": actlake_version(),
        }
        with progress("export tables", sum(rows_of_tables.values())) as advance:
            tables.write(folder, rows_of_tables, csv_rows=CSV_ROWS, facts=facts, advance=advance)
    finally:
        tables.close()
    missing = _draw(reading, folder, tables.snapshot, arguments["features"], arguments["mask"])
    readme = _readme(facts, rows_of_tables, missing)
    (folder / README).write_text(readme, "utf-8")
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    record = {"actlake_export": 1, "arguments": arguments, "facts": facts, "files": files}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _draw(
    reading: Lake, folder: Path, snapshot: Snapshot, features: int, mask: str | None
) -> dict[str, str]:
    """Plots, page and report; what could not be made, and why."""
    from actlake.flows.page import page
    from actlake.flows.plots import plot, save
    from actlake.flows.report import report

    (folder / PLOTS_FOLDER).mkdir()
    missing: dict[str, str] = {}
    pictures: list[tuple[str, str]] = []
    for kind, title in PLOTS.items():
        stem = folder / PLOTS_FOLDER / kind
        try:
            _, svg = save(plot(reading, kind, mask=mask), stem)
        except InputError as error:
            missing[f"{PLOTS_FOLDER}/{kind}"] = str(error)
        else:
            if kind in ON_PAGE:
                pictures.append((title, svg.read_text("utf-8")))
    try:
        text = page(
            reading,
            snapshot=snapshot.number,
            committed=snapshot.committed,
            features=features,
            mask=mask,
            plots=pictures,
        )
    except InputError as error:
        missing[PAGE] = str(error)
    else:
        (folder / PAGE).write_text(text, "utf-8")
    text = report(
        reading,
        snapshot=snapshot.number,
        committed=snapshot.committed,
        features=features,
        mask=mask,
    )
    (folder / REPORT).write_text(text, "utf-8")
    return missing


def _readme(
    facts: Mapping[str, str], rows_of_tables: Mapping[str, int], missing: Mapping[str, str]
) -> str:
    number = facts["snapshot"]
    lines = [f"Export of {facts['lake']}, at snapshot {number}", ""]
    lines += [f"{name:16}{value}" for name, value in facts.items()]
    lines += [
        "",
        "Files",
        "",
        f"{REPORT:24}the lake whole: what it holds, how well, what was found",
    ]
    if PAGE not in missing:
        lines.append(f"{PAGE:24}the most characteristic features, with their contexts")
    lines += [
        f"{PLOTS_FOLDER + '/' + kind:24}{title} (PNG and SVG)"
        for kind, title in PLOTS.items()
        if f"{PLOTS_FOLDER}/{kind}" not in missing
    ]
    lines += [
        f"{DATABASE:24}every table and view, for DuckDB and the dashboards that read it",
        f"{TABLES_FOLDER + '/':24}every table as Parquet, and as CSV up to {CSV_ROWS:,} rows",
        f"{RECORD:24}what was exported, for the next export to compare with",
    ]
    lines += ["", "Tables (their columns are described by comments in the DuckDB file)", ""]
    for name in sql.names("schema"):
        table = name.partition("_")[2]
        if table in rows_of_tables:
            lines.append(f"{table:24}{rows_of_tables[table]:>12,} rows  {heading('schema', name)}")
    lines += ["", "Views", ""]
    lines += [f"{view:24}{heading('views', view)}" for view in sql.names("views")]
    left_out = [f"{name}: {why}" for name, why in missing.items()]
    left_out += [
        f"{TABLES_FOLDER}/{table}.csv: {rows:,} rows are more than {CSV_ROWS:,}; use the Parquet"
        for table, rows in rows_of_tables.items()
        if rows > CSV_ROWS
    ]
    if left_out:
        lines += ["", "Left out", "", *left_out]
    lines += [
        "",
        "Where a number comes from",
        "",
        "The column run of a row names its row in the table runs: flow, parameters, inputs,",
        f"version and snapshots. Lake.open(path).at({number}) is the lake as it was exported.",
        "",
    ]
    return "\n".join(lines)
