"""What every command has: where the lake is, and errors as one line."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from errno import EPIPE
from logging import ERROR, getLogger
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actlake.storage.lake import Lake

__all__ = [
    "COUNT",
    "DAYS",
    "HOURS",
    "NATURAL",
    "PRICE",
    "RATE",
    "SECONDS",
    "SEED",
    "LakeCommand",
    "OneLine",
    "catalog_option",
    "lake_option",
    "open_lake",
    "open_or_create",
    "runner_option",
    "store_option",
    "workers_options",
]


INTERRUPTED = "Query interrupted"
"""What DuckDB makes of Ctrl-C."""


class Whole(click.IntRange):
    """A whole number of at least ``least`` that the libraries behind a flow can hold."""

    def __init__(self, least: int, largest: int = (1 << 31) - 1) -> None:
        super().__init__(least)  # help shows this bound alone
        self._largest = largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found > self._largest:
            self.fail(f"{value} is more than the largest, {self._largest:,}", param, ctx)
        return found


class Real(click.FloatRange):
    """A number from ``least`` to ``largest``: neither NaN nor infinite."""

    def __init__(self, largest: float, least: float = 0, *, above: bool = False) -> None:
        super().__init__(least, min_open=above)
        self._largest = largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not found <= self._largest:  # so that NaN is refused
            self.fail(f"{value} is no number up to {self._largest:,g}", param, ctx)
        return found


COUNT, NATURAL, SEED = Whole(1), Whole(0), Whole(0, (1 << 63) - 1)
DAYS, HOURS, PRICE = Real(36_500), Real(876_000), Real(1e6)
SECONDS, RATE = Real(1e9, above=True), Real(1e6, above=True)
"""What numbers on the command line may be; what else a flow wants of them it says itself."""


class OneLine(click.Command):
    """Tells in one line what is wrong with its own line, such as a value that is no number.

    It ends with 1 then, as with all bad input, where click would show the usage and end with 2.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **kw: Any
    ) -> click.Context:
        with _told(" ".join([parent.command_path if parent else "", info_name or ""]).strip()):
            return super().make_context(info_name, args, parent, **kw)

    def invoke(self, ctx: click.Context) -> Any:
        with _told(ctx.command_path):
            return super().invoke(ctx)


@contextmanager
def _told(command: str) -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        from actlake.flows.visible import line

        said = " ".join(error.format_message().split()).rstrip(".")
        told = f"{said}; see `{error.ctx.command_path if error.ctx else command} --help`"
        raise click.ClickException(line(told)) from error


class LakeCommand(OneLine):
    """Prints a LakeError as one line and ends with 1; any other exception is a bug and shows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Here, since a path is looked for on the disk as it is parsed.
        for one in args:
            if not _is_text(one):
                raise click.UsageError(
                    f"{one[:60]!r} holds bytes that are no UTF-8 or are zero; write plain text",
                    ctx,
                )
        words = [*args]
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:  # as for completion, which takes any line
            self._refuse_repeated(ctx, words)
            self._refuse_same(ctx)
        return rest

    def _refuse_same(self, ctx: click.Context) -> None:
        """What may be given several times means each once, so twice is a slip."""
        many = [str(one.name) for one in self.params if one.multiple or one.nargs == -1]
        given = [[*map(str, ctx.params.get(name) or ())] for name in many]
        if not any(given):  # nothing is imported for a plain line
            return
        from actlake.storage.keys import repeated

        for values in given:
            if twice := repeated(values):
                raise click.UsageError(f"{twice!r} is given twice; give it once", ctx)

    def _refuse_repeated(self, ctx: click.Context, words: list[str]) -> None:
        """click would take the last value, and nobody would know of the others."""
        _, _, order = self.make_parser(ctx).parse_args(words)
        for one, times in Counter(order).items():
            once = isinstance(one, click.Option) and not (one.multiple or one.is_flag)
            if once and times > 1:
                raise click.UsageError(f"{one.opts[-1]} is given {times} times; give it once", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        from actlake.flows.visible import line
        from actlake.storage.errors import LakeError

        # It says so where its thread takes longer than a moment to end, which harms nothing.
        getLogger("zarr.core.sync").setLevel(ERROR)
        try:
            return super().invoke(ctx)
        except LakeError as error:
            raise click.ClickException(line(str(error))) from error
        except OSError as error:
            if error.errno == EPIPE:  # whoever read the output has enough: click ends quietly
                raise
            what = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(
                line(f"{what}{error.strerror or error}; check the path and who may use it")
            ) from error
        except _duckdb_io() as error:
            from actlake.storage.duck import one_line
            from actlake.storage.http_faults import http_fault

            if (away := http_fault(one_line(error))) is None:
                raise
            raise click.ClickException(line(str(away))) from error
        except RuntimeError as error:
            if str(error) != INTERRUPTED:
                raise
            raise KeyboardInterrupt from error
        except MemoryError as error:
            reason = line(str(error)) or "no more can be had"
            raise click.ClickException(
                f"not enough memory for this: {reason}; ask for less at once, such as fewer "
                "features or rows, or use a machine with more"
            ) from error


def _duckdb_io() -> tuple[type[Exception], ...]:
    """What DuckDB raises of files that it cannot read, if it was imported."""
    return (sys.modules["duckdb"].IOException,) if "duckdb" in sys.modules else ()


def _is_text(value: str) -> bool:
    """Bytes that are no UTF-8 come as halves of surrogate pairs."""
    return "\0" not in value and not any("\ud800" <= one <= "\udfff" for one in value)


lake_option = click.option(
    "--lake",
    "path",
    envvar="ACTLAKE_LAKE",
    default="lake",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder of the lake.",
)

catalog_option = click.option(
    "--catalog",
    default="sqlite",
    show_default=True,
    help='Or, for several machines, "postgres:dbname=… host=…", without a password: set PGUSER and '
    "PGPASSWORD, or PGPASSFILE.",
)

store_option = click.option(
    "--store",
    default="folder",
    show_default=True,
    help="Or, for machines that share no folder, s3://BUCKET/PREFIX: set AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY and, for a server that is not Amazon's, AWS_ENDPOINT_URL.",
)

runner_option = click.option(
    "--runner",
    envvar="ACTLAKE_RUNNER",
    default="prefect",
    show_default=True,
    show_envvar=True,
    type=click.Choice(["prefect", "inline"]),
    help="Carry it out as a Prefect flow, or as plain calls.",
)


def workers_options(command: Any) -> Any:
    """Who does the steps of a command that has some."""
    processes = click.option(
        "--workers",
        type=COUNT,
        help="Shards at a time, each in a process of its own, with its share of the cores or a "
        "GPU.",
    )
    dask = click.option(
        "--scheduler", metavar="ADDRESS", help="Or by workers of the Dask scheduler at tcp://…."
    )
    return processes(dask(command))


def open_lake(path: Path) -> "Lake":
    """The lake at ``path``."""
    from actlake.storage.lake import Lake

    return Lake.open(path)


def open_or_create(path: Path, check: Callable[["Lake", bool], None]) -> "Lake":
    """The lake at ``path``, made there if nothing is; ``check(lake, new)`` may refuse it before.

    A new lake is made after the check of an empty one elsewhere, so what is refused leaves none.
    """
    from actlake.storage.lake import Lake
    from actlake.storage.settings import check_folder

    if (path / "lake.toml").exists():
        lake = Lake.open(path)
        check(lake, False)
        return lake
    root = path.expanduser().resolve()
    check_folder(root)
    above = next(one for one in root.parents if one.is_dir())
    with (
        TemporaryDirectory(dir=above, prefix=".new-lake-") as folder,  # as fit for one as the place
        closing(Lake.create(Path(folder, "lake"))) as empty,
    ):
        check(empty, True)
    if (path / "lake.toml").exists():  # somebody else was faster
        return Lake.open(path)
    lake = Lake.create(path)
    click.echo(f"made a lake at {path}", err=True)
    return lake
