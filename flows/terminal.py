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

from actlake.flows.summaries import summaries
from actlake.flows.visible import visible, visible_token
from actlake.storage.contexts import Context
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.results import Result

__all__ = ["parameters", "print_feature", "print_table", "write_result"]

SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
RESERVED = ("self", "select", "name", "seconds")
"""What ``Lake.sql`` and ``Lake.query`` call their own arguments."""

SHADES = ("", "on grey30", "on dark_orange3", "bold black on orange1")
FACTS = ("n_rows", "n_fires", "density", "mean_active", "max_active", "q50_active", "q99_active")


def print_table(rows: pa.Table, *, title: str | None = None) -> None:
    """A table as wide as the terminal; everywhere else as wide as its content."""
    console = _console()
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        heading = Text(visible(name))  # people name columns in SQL; no markup of theirs is obeyed
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        table.add_row(*(Text(_shown(value)) for value in row))
    console.print(table)


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
        raise InputError(f"cannot write {output}: {error.strerror or error}") from error


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
        # Words such as inf and nan are text: people look for tokens with them.
        whole, real = re.fullmatch(r"[+-]?\d+", value), re.fullmatch(NUMBER, value)
        values[name] = int(value) if whole else float(value) if real else value
    return values


def print_feature(lake: Lake, codes: str, feature: int, mask: str | None, limit: int) -> None:
    """Statistics, tokens and contexts of one feature."""
    console = _console()
    statistics = _statistics(lake, codes, feature, mask)
    chosen = str(statistics["mask"])
    console.print(Text(f"{codes}  feature {feature}  mask {chosen}", style="bold"))
    facts = [f"{name} {_shown(statistics[name])}" for name in FACTS]
    console.print(Text("  ".join(facts)))
    for kind in ("count", "lift"):
        tokens = lake.sql(
            """
            SELECT v.text, t.count, t.lift
            FROM feature_tokens AS t
            JOIN codes AS c USING (codes)
            JOIN rowsets AS r USING (rowset)
            JOIN vocabulary AS v ON v.tokenizer = r.tokenizer AND v.token_id = t.token_id
            WHERE t.codes = $codes AND t.mask = $mask AND t.feature = $feature AND t.kind = $kind
            ORDER BY t.rank LIMIT 10
            """,
            codes=codes,
            mask=chosen,
            feature=feature,
            kind=kind,
        ).rows()
        if tokens:
            shown = "  ".join(f"{visible_token(str(text))} ×{n}" for text, n, _ in tokens)
            console.print(Text(f"tokens by {kind}: {shown}"))
    for context in lake.contexts(codes, feature, mask=chosen, limit=limit):
        console.print(_context(context))


def _statistics(lake: Lake, codes: str, feature: int, mask: str | None) -> dict[str, Any]:
    [summary] = summaries(lake, codes, mask)
    rows = lake.sql(
        """
        SELECT mask, n_rows, n_fires, density, mean_active, max_active, q50_active, q99_active
        FROM feature_statistics WHERE codes = $codes AND feature = $feature AND mask = $mask
        """,
        codes=codes,
        feature=feature,
        mask=summary.mask,
    ).pl()
    if rows.is_empty():
        raise NotFoundError(
            f"codes {codes} have features 0 to {summary.n_features - 1}, not {feature}"
        )
    return rows.row(0, named=True)


def _context(context: Context) -> Text:
    line = Text(f"{context.value:9.3f}  {visible(context.source_id)}  ")
    strongest = max((span.value for span in context.spans), default=context.value)
    at = 0
    for span in context.spans:
        shade = SHADES[min(3, 1 + int(2 * span.value / strongest))]
        line.append(visible(context.text[at : span.start]))
        line.append(visible(context.text[span.start : span.stop]), style=shade)
        at = span.stop
    line.append(visible(context.text[at:]))
    return line


def _console() -> Console:
    """As wide as the terminal; elsewhere no line is broken."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=1 << 20, soft_wrap=True)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(str(value))
