"""Two things of the lake that are compared under a mask, in the order in which they were named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

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
    def claim(self) -> str:
        """What a run holds, whichever way round the two were named."""
        return f"comparison:{':'.join(sorted((self.a, self.b)))}:{self.mask}"

    @property
    def columns(self) -> dict[str, str]:
        """The columns that name the two and the mask."""
        return {f"{self.kind}_a": self.a, f"{self.kind}_b": self.b, "mask": self.mask}

    @property
    def _orders(self) -> tuple[dict[str, str], dict[str, str]]:
        return self.columns, Pair(self.kind, self.b, self.a, self.mask).columns

    def replaced(
        self, lake: Lake, table: str, parameters: Mapping[str, Json], inputs: Mapping[str, str]
    ) -> str:
        """The runs whose rows of ``table`` this comparison takes the place of; "" for none."""
        runs = (replaced(lake, table, order, parameters, inputs) for order in self._orders)
        return ",".join(filter(None, runs))

    def replace(self, run: Run, tables: Mapping[str, pa.Table]) -> None:
        """Put ``tables`` in place of what there was of the pair, in one commit."""

        def delete(transaction: Transaction) -> None:
            for table in tables:
                for order in self._orders:
                    deletion(transaction, table, order)

        run.append(tables, f"{self.a} with {self.b}", check=delete)
