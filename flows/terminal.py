"""What reading commands print: tables, features, query results in other formats."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actlake.flows.extract_plan import Forecast
from actlake.flows.visible import visible
from actlake.flows.withdraw import Withdrawn
from actlake.storage.backup import Backup
from actlake.storage.deletion import Deletion
from actlake.storage.errors import InputError
from actlake.storage.results import Result
from actlake.storage.retention import Plan

__all__ = [
    "console",
    "parameters",
    "print_backups",
    "print_deletion",
    "print_forecast",
    "print_removal",
    "print_table",
    "print_withdrawal",
    "shown",
    "write_result",
]

SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
LEAST_WIDTH = 14
"""Of a column of a table, unless all of its cells are narrower."""
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
RESERVED = ("self", "select", "name", "seconds")
"""What ``Lake.sql`` and ``Lake.query`` call their own arguments."""


def print_table(rows: pa.Table, *, title: str | None = None) -> None:
    """A table as wide as the terminal, or a line a value where it is too narrow for that;
    everywhere else as wide as its content."""
    screen = console()
    widest = LEAST_WIDTH * rows.num_columns  # else no cell need be measured
    if (
        len(rows)
        and screen.width < widest
        and screen.width < sum(min(LEAST_WIDTH, _width(rows, name)) for name in rows.column_names)
    ):
        _print_records(screen, rows, title)
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        heading = Text(visible(name))  # people name columns in SQL; no markup of theirs is obeyed
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        table.add_row(*(Text(shown(value)) for value in row))
    screen.print(table)


def _width(rows: pa.Table, name: str) -> int:
    """Of the widest cell of a column, its name included, and of what is between two."""
    return 2 + max(len(one) for one in (name, *map(shown, rows[name].to_pylist())))


def _print_records(screen: Console, rows: pa.Table, title: str | None) -> None:
    if title is not None:
        screen.print(Text(title, style="italic"))
    for number, row in enumerate(rows.to_pylist(), 1):
        screen.print(Text(f"row {number} of {len(rows):,}", style="dim"))
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        for name, value in row.items():
            table.add_row(Text(visible(name), style="bold"), Text(shown(value)))
        screen.print(table)


def print_forecast(found: Forecast) -> None:
    """What an extraction would write, what it takes, and what keeping it costs."""
    print_table(found.tensors)
    screen = console()
    for one in found.passes:
        about = "about " if one.sampled else ""
        padding = "" if one.padding is None else f", {one.padding:.1%} of what is computed padding"
        screen.print(
            Text(
                f"{about}{one.passes:,} forward passes of at most {one.token_budget:,} tokens over "
                f"{visible(one.rowset)}{padding}; {one.held_bytes / 2**20:,.0f} MiB of "
                "activations in memory"
            )
        )
    screen.print(
        Text(
            f"{found.bytes:,} bytes, {found.euros_a_month:,.2f} euros a month at {found.price:g} "
            "euros a GB; docs/dtypes.md says what each dtype loses; nothing was written"
        )
    )


def print_removal(plan: Plan, *, done: bool, listing: bool) -> None:
    """What ``gc`` removed, or would remove: by place, or every file and folder."""
    screen = console()
    forgotten = "forgotten" if done else "would be forgotten"
    screen.print(Text(f"{len(plan.snapshots):,} snapshots {forgotten}"))
    for what, found in (
        ("removed" if done else "would be removed", plan.now),
        ("would be removed when the grace period has passed", plan.later),
    ):
        if found or what.endswith("removed"):
            size = sum(one.bytes for one in found)
            screen.print(Text(f"{len(found):,} files and folders, {size:,} bytes, {what}"))
        if not found:
            continue
        places: dict[str, list[int]] = {}
        for one in found:
            place = one.path if listing else one.path.rpartition("/")[0] or one.path
            places.setdefault(place, []).append(one.bytes)
        columns = {
            "place": list(places),
            "entries": [len(sizes) for sizes in places.values()],
            "bytes": [sum(sizes) for sizes in places.values()],
        }
        print_table(pa.table(columns))
    if not done and (plan.snapshots or plan.now):
        screen.print(Text("nothing was changed; add --remove to do it"))


def print_deletion(deletion: Deletion) -> None:
    """What goes with a thing: things by name, then rows that were computed about them."""
    rows = [
        {"kind": one.kind, "name": one.name, "rows": one.rows, "bytes": one.bytes}
        for one in deletion.things
    ]
    rows += [
        {"kind": "table", "name": table, "rows": count, "bytes": None}
        for table, count in deletion.found.items()
    ]
    print_table(pa.Table.from_pylist(rows))


def print_withdrawal(done: Withdrawn) -> None:
    """What was emptied, what is stale, and what outside the lake still holds the documents."""
    screen = console()
    if done.withdrawal is None:
        screen.print(Text("withdrawn before; no file of the lake holds it"))
    else:
        counts = done.withdrawal.removed
        rows = [{"table": name, "rows": n} for name, n in counts.items() if isinstance(n, int)]
        print_table(pa.Table.from_pylist(rows), title="emptied or removed")
        for name in counts.get("summaries", ()):
            screen.print(Text(f"run `actlake summarize` again: {name}"))
        for kind, names in done.withdrawal.stale.items():
            screen.print(Text(f"computed with it and still there, {kind}: {', '.join(names)}"))
    for folder in done.exports:
        screen.print(Text(f"made before, and to be removed or exported again: {folder}"))


def print_backups(found: Sequence[Backup]) -> None:
    """The backups of a lake, oldest first."""
    rows = [
        {"snapshot": one.snapshot, "made": one.made, "bytes": one.bytes, "folder": str(one.folder)}
        for one in found
    ]
    schema = {"snapshot": pa.int64(), "made": pa.string(), "bytes": pa.int64()}
    print_table(pa.Table.from_pylist(rows, pa.schema(schema | {"folder": pa.string()})))


def write_result(result: Result, style: str | None, output: Path | None) -> None:
    """The rows of a query as a table, CSV, JSON lines or Parquet, on the screen or in a file.

    Without ``style`` the suffix of the file decides, and the screen gets a table.
    """
    style = style or ("table" if output is None else SUFFIXES.get(output.suffix, ""))
    if output is None:
        if style == "parquet":
            raise InputError("Parquet is not for a screen; name a file with --output")
        if style == "table":
            print_table(result.arrow())
        else:
            sys.stdout.write(_text(result, style))
        return
    if style not in SUFFIXES.values():
        raise InputError(f"{output} does not say its format; add --format csv, json or parquet")
    try:
        if style == "parquet":
            pq.write_table(result.arrow(), output, compression="zstd")
        else:
            output.write_text(_text(result, style), "utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror or error}; give another path"
        ) from error


def _text(result: Result, style: str) -> str:
    frame = result.pl()
    return frame.write_ndjson() if style == "json" else frame.write_csv()


def parameters(given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` as parameters: plain numbers become numbers, all else stays text."""
    values: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier() or name in RESERVED:
            raise InputError(f"parameter {one!r} is not name=value; write -p limit=10")
        if name in values:
            raise InputError(f"the parameter {name} is given twice; give it once")
        # Words such as inf and nan are text: people look for tokens with them.
        whole, real = re.fullmatch(r"[+-]?\d+", value), re.fullmatch(NUMBER, value)
        values[name] = int(value) if whole else float(value) if real else value
    return values


def console() -> Console:
    """As wide as the terminal; elsewhere no line is broken."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=1 << 20, soft_wrap=True)


def shown(value: Any) -> str:
    """A value as a cell of a table; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(str(value))
