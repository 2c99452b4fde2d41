"""What reading commands print: tables, features, query results in other formats."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actlake.flows.visible import visible, visible_token
from actlake.storage.contexts import Context
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.results import Result

__all__ = ["parameters", "print_feature", "print_table", "write_result"]

SHADES = ("", "on grey30", "on dark_orange3", "bold black on orange1")
FACTS = ("n_rows", "n_fires", "density", "mean_active", "max_active", "q50_active", "q99_active")


def print_table(rows: pa.Table, *, title: str | None = None) -> None:
    """A table as wide as the terminal; everywhere else as wide as its content."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    if not sys.stdout.isatty():
        console.width = 400
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        table.add_row(*(Text(_shown(value)) for value in row))
    console.print(table)


def write_result(result: Result, style: str, output: Path | None) -> None:
    """The rows of a query as a table, CSV, JSON lines or Parquet, on the screen or in a file."""
    if style == "table" and output is None:
        print_table(result.arrow())
        return
    if style == "parquet":
        if output is None:
            raise InputError("Parquet is not for a screen; name a file with --output")
        pq.write_table(result.arrow(), output, compression="zstd")
        return
    if style == "json":
        frame = result.pl()
        text = "".join(json.dumps(row, default=str) + "\n" for row in frame.iter_rows(named=True))
    else:
        text = result.pl().write_csv()
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")


def parameters(given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` as parameters: whole and real numbers become numbers, the rest stays text."""
    values: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"parameter {one!r} is not name=value; write -p limit=10")
        for kind in (int, float):
            try:
                values[name] = kind(value)
                break
            except ValueError:
                values[name] = value
    return values


def print_feature(lake: Lake, codes: str, feature: int, mask: str | None, limit: int) -> None:
    """Statistics, tokens and contexts of one feature."""
    console = Console(highlight=False)
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
    lake.codes(codes)  # an unknown name is the clearer error
    rows = lake.sql(
        """
        SELECT mask, n_rows, n_fires, density, mean_active, max_active, q50_active, q99_active
        FROM feature_statistics
        WHERE codes = $codes AND feature = $feature AND (mask = $mask OR $mask IS NULL)
        ORDER BY mask DESC LIMIT 1
        """,
        codes=codes,
        feature=feature,
        mask=mask,
    ).pl()
    if rows.is_empty():
        raise NotFoundError(
            f"no statistics of feature {feature} of {codes}"
            + (f" under {mask}" if mask else "")
            + f"; run `actlake summarize {codes}`, or choose another feature"
        )
    return rows.row(0, named=True)


def _context(context: Context) -> Text:
    line = Text(f"{context.value:9.3f}  {context.source_id}  ")
    strongest = max((span.value for span in context.spans), default=context.value)
    at = 0
    for span in context.spans:
        shade = SHADES[min(3, 1 + int(2 * span.value / strongest))]
        line.append(visible(context.text[at : span.start]))
        line.append(visible(context.text[span.start : span.stop]), style=shade)
        at = span.stop
    line.append(visible(context.text[at:]))
    return line


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(str(value))

