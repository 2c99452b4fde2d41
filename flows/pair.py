"""Two things of the lake that are compared under a mask, in the order in which they were named."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from actlake.flows.progress import say
from actlake.flows.replacing import deletion, replaced
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = ["Pair"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison: what it says replaces what either order of the two said before."""

    kind: Literal["codes", "tensor"]
    a: str
    b: str
    mask: str

    def __str__(self) -> str:
        return f"{self.a} with {self.b} under {self.mask}"

    @property
    def columns(self) -> dict[str, str]:
        """The columns that name the two and the mask."""
        return {f"{self.kind}_a": self.a, f"{self.kind}_b": self.b, "mask": self.mask}

    @property
    def _orders(self) -> tuple[dict[str, str], dict[str, str]]:
        return self.columns, Pair(self.kind, self.b, self.a, self.mask).columns

    @contextmanager
    def run(
        self, lake: Lake, table: str, parameters: Mapping[str, Json], inputs: Mapping[str, str]
    ) -> Iterator[Run]:
        """A run of the flow ``compare`` that alone may replace the pair's rows of ``table``.

        It is ``done`` if ``table`` holds what these parameters and inputs give.
        """
        given = {"a": self.a, "b": self.b, "mask": self.mask, **parameters}
        before = (replaced(lake, table, order, given, inputs) for order in self._orders)
        replaces = ",".join(filter(None, before))
        with lake.run("compare", given, {**inputs, "replaces": replaces}) as run:
            if run.done:
                say(f"compare: {self} found complete")
            else:
                run.hold(f"comparison:{':'.join(sorted((self.a, self.b)))}:{self.mask}")
            yield run

    def replace(self, run: Run, tables: Mapping[str, pa.Table]) -> None:
        """Put ``tables`` in place of what there was of the pair, in one commit."""

        def delete(transaction: Transaction) -> None:
            for table in tables:
                for order in self._orders:
                    deletion(transaction, table, order)

        run.append(tables, f"{self.a} with {self.b}", check=delete)
