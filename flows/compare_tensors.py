"""How alike two tensors are over the rows that they share."""

from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import false_discovery_control

from actlake.analytics.similarity.layers import Comparison, compare_rows
from actlake.flows.aligned import aligned_rows
from actlake.flows.pair import Pair
from actlake.flows.progress import progress, say
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.tensors import Tensor

__all__ = ["compare_tensors"]

CODE_VERSION = "2"
"""Changes whenever a result's meaning changes."""


def compare_tensors(
    lake: Lake, a: Tensor, b: Tensor, mask: Mask, *, permutations: int, most_rows: int, seed: int
) -> None:
    """Fill similarities for two tensors, as ``compare`` says."""
    if most_rows < 100:
        raise InputError(f"{most_rows} rows are too few to compare tensors on; give 100 or more")
    pair = Pair("tensor", a.name, b.name, mask.name)
    parameters: dict[str, Json] = {
        "permutations": permutations,
        "most_rows": most_rows,
        "seed": seed,
    }
    inputs = {"a": a.fingerprint, "b": b.fingerprint, "mask": mask.fingerprint}
    inputs["version"] = CODE_VERSION
    with pair.run(lake, "similarities", parameters, inputs) as run:
        if run.done:
            return
        aligned = aligned_rows(lake, a, b, mask, most_rows=most_rows, seed=seed)
        label = f"compare {a.name} with {b.name}"
        with progress(label, permutations + 1, "comparisons") as advance:
            found = compare_rows(
                aligned.a,
                aligned.b,
                aligned.document,
                permutations=permutations,
                seed=seed,
                advance=advance,
            )
        for one in found.values():
            _require_value(one, pair)
        rows: list[dict[str, Any]] = [
            pair.columns
            | {
                "method": method,
                "value": one.value,
                "null_mean": one.null_mean,
                "cut_mean": one.cut_mean,
                "null_share": one.null_share,
                "n": one.n,
                "documents": one.n_documents,
                "text_aligned": aligned.coverage.finish()["text"],
                "permutations": permutations,
                "p": one.p,
                "run": run.run,
            }
            for method, one in found.items()
        ]
        corrected = false_discovery_control([row["p"] for row in rows])
        for row, q in zip(rows, corrected, strict=True):
            row["q"] = float(q)
        table = pa.Table.from_pylist(rows, arrow_schema("similarities"))
        pair.replace(run, {"similarities": table})
        for row in rows:
            say(
                f"compare: {row['method']} {row['value']:.2f} over {row['n']:,} units, "
                f"by chance {row['null_mean']:.2f}, p {row['p']:.2g}"
            )


def _require_value(found: Comparison, pair: Pair) -> None:
    """InputError, with what to do, for a similarity that is not defined."""
    if found.n < 4:
        reason = f"only {found.n} units of text are shared; give more rows or another mask"
    elif not np.isfinite(found.value):
        reason = "one of them is constant there; choose another mask or tensor"
    elif not np.isfinite(found.p):
        reason = "its documents are too short to trade places; give more rows or another mask"
    else:
        return
    raise InputError(f"{pair} cannot be compared: {reason}")
