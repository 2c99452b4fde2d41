"""compare: which features of two codes go together, or how alike two tensors are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from actlake.analytics.similarity.decoders import match_decoders
from actlake.analytics.similarity.layers import compare_rows
from actlake.analytics.similarity.matching import match_features
from actlake.analytics.similarity.partners import Matches
from actlake.flows.aligned import aligned_codes, aligned_rows, require_one_corpus
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.storage.codes import Codes
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.run import Run
from actlake.storage.tensors import Tensor
from actlake.storage.transaction import Transaction

__all__ = ["compare"]

CODE_VERSION = "1"
"""Changes whenever a result's meaning changes."""


def compare(
    lake: Lake,
    *,
    a: str,
    b: str,
    mask: str = "no_special",
    min_fires: int = 20,
    permutations: int | None = None,
    most_rows: int = 8_192,
    seed: int = 0,
) -> None:
    """Fill feature_matches and comparisons for two codes, or similarities for two tensors.

    Both are of one corpus, whatever their tokenizers: rows are joined by the characters they cover
    (``analytics.similarity.alignment``), features pooled by maximum and activations by mean. What
    an earlier comparison of the two under the mask left is replaced.

    a, b
        Two codes, or two tensors. Codes whose dictionaries are of one site of one model are
        also compared by the directions of their decoders.
    mask
        Rows of both sides that count.
    min_fires
        Units that a feature must fire on to be compared.
    permutations
        Of documents, for the null: 20 for codes, whose best scores are pooled over features; 99
        for tensors.
    most_rows
        Rows of tensors to compare, as whole documents drawn by ``seed``; codes are compared on all.

    InputError for two of different kinds or corpora, or one thing given twice; IncompleteError for
    what lacks shards.
    """
    if a == b:
        raise InputError(f"{a} was given twice; name two different codes or tensors")
    one, other = _named(lake, a), _named(lake, b)
    require_one_corpus(one.rowset, other.rowset)
    rule = lake.mask(mask)
    if isinstance(one, Codes) and isinstance(other, Codes):
        _compare_codes(lake, one, other, rule, min_fires, permutations or 20, seed)
    elif isinstance(one, Tensor) and isinstance(other, Tensor):
        _compare_tensors(lake, one, other, rule, permutations or 99, most_rows, seed)
    else:
        raise InputError(f"{a} and {b} are codes and a tensor; compare two codes or two tensors")


def _named(lake: Lake, name: str) -> Codes | Tensor:
    found: Codes | Tensor
    try:
        found = lake.codes(name)
    except NotFoundError:
        try:
            found = lake.tensor(name)
        except NotFoundError:
            raise NotFoundError(
                f"no codes or tensor {name!r} in {lake.root}; see `actlake ls codes` and "
                "`actlake ls tensors`"
            ) from None
    if missing := found.missing():
        raise IncompleteError(
            f"{name} lacks {len(missing)} of {len(found.grid)} shards; finish it first"
        )
    return found


def _compare_codes(
    lake: Lake, a: Codes, b: Codes, mask: Mask, min_fires: int, permutations: int, seed: int
) -> None:
    if min_fires < 2:
        raise InputError(f"features that fire on {min_fires} units cannot be compared; give 2")
    parameters: dict[str, Json] = {
        "a": a.name,
        "b": b.name,
        "mask": mask.name,
        "min_fires": min_fires,
        "permutations": permutations,
        "seed": seed,
    }
    inputs = {"a": a.fingerprint, "b": b.fingerprint, "mask": mask.fingerprint}
    inputs["version"] = CODE_VERSION
    same = {"codes_a": a.name, "codes_b": b.name, "mask": mask.name}
    inputs["replaces"] = replaced(lake, "comparisons", same, parameters, inputs)
    with lake.run("compare", parameters, inputs) as run:
        if run.done:
            say(f"compare: {a.name} with {b.name} under {mask.name} found complete")
            return
        run.hold(f"comparison:{a.name}:{b.name}:{mask.name}")
        aligned = aligned_codes(lake, a, b, mask)
        shares = aligned.coverage.finish()
        say(
            f"compare: {len(aligned.document):,} units, {shares['text']:.1%} of the text, "
            f"{shares['tokens_a']:.1%} and {shares['tokens_b']:.1%} of the rows are aligned"
        )
        label = f"match {a.name} with {b.name}"
        with progress(label, permutations + 1, "searches") as advance:
            found = match_features(
                aligned.a,
                aligned.b,
                aligned.document,
                min_fires=min_fires,
                permutations=permutations,
                seed=seed,
                advance=advance,
            )
        key = same | {"run": run.run}
        matches = [
            _matches_table(
                found.matches,
                key | {"method": "activation"},
                n_fires=found.n_fires,
                n_joint=found.n_joint,
                null_mean=found.null_mean,
                null_high=found.null_high,
            )
        ]
        facts = {
            "documents": found.n_documents,
            "units": found.n_units,
            "text_aligned": shares["text"],
            "rows_aligned_a": shares["tokens_a"],
            "rows_aligned_b": shares["tokens_b"],
            "min_fires": min_fires,
            "permutations": permutations,
        }
        comparisons = [_comparison(found.matches, key | {"method": "activation"} | facts)]
        if _share_a_space(lake, a, b):
            by_direction = match_decoders(*(_directions(lake, one) for one in (a, b)))
            of_a = by_direction.matches.of_a
            matches.append(
                _matches_table(
                    by_direction.matches,
                    key | {"method": "decoder"},
                    null_mean=np.where(of_a, by_direction.null_a, by_direction.null_b),
                    null_high=np.where(of_a, by_direction.high_a, by_direction.high_b),
                )
            )
            comparisons.append(_comparison(by_direction.matches, key | {"method": "decoder"}))
        tables = {
            "feature_matches": pa.concat_tables(matches),
            "comparisons": pa.Table.from_pylist(comparisons, arrow_schema("comparisons")),
        }
        _replace(run, tables, same, f"{a.name} with {b.name}")


def _share_a_space(lake: Lake, a: Codes, b: Codes) -> bool:
    """Whether both dictionaries are of the same place in the same model.

    A model that the lake does not know, of rows made elsewhere, is the same only in one tensor.
    """
    query = """
        SELECT DISTINCT coalesce(m.model, t.tensor), t.module, t.side FROM dictionaries AS d
        JOIN tensors AS t USING (tensor) LEFT JOIN models AS m USING (model)
        WHERE d.dictionary IN ($a, $b)
    """
    return a.dictionary != b.dictionary and (
        len(list(lake.sql(query, a=a.dictionary, b=b.dictionary).rows())) == 1
        and all("W_dec" in lake.dictionary(one.dictionary).arrays for one in (a, b))
    )


def _directions(lake: Lake, codes: Codes) -> NDArray[np.float32]:
    return lake.dictionary(codes.dictionary).arrays["W_dec"]


def _comparison(matches: Matches, facts: Mapping[str, Any]) -> dict[str, Any]:
    tested = matches.partner >= 0
    return {
        **facts,
        "tested_a": int((tested & matches.of_a).sum()),
        "tested_b": int((tested & ~matches.of_a).sum()),
        "mutual": int((matches.is_mutual & matches.of_a).sum()),
    }


def _matches_table(
    matches: Matches, constants: Mapping[str, str], **others: NDArray[Any]
) -> pa.Table:
    """Rows of ``feature_matches``; NaN becomes NULL, and so does the partner -1."""
    of_a = matches.of_a
    columns = matches.columns() | others
    columns["feature_a"] = np.where(of_a, matches.feature, matches.partner).astype(np.float64)
    columns["feature_b"] = np.where(of_a, matches.partner, matches.feature).astype(np.float64)
    columns["best_of"] = np.where(of_a, "a", "b")
    for name in ("feature_a", "feature_b"):
        columns[name][columns[name] < 0] = np.nan
    schema = arrow_schema("feature_matches")
    arrays = []
    for field in schema:
        if field.name in constants:
            arrays.append(pa.array([constants[field.name]] * len(of_a), field.type))
        elif field.name not in columns:
            arrays.append(pa.nulls(len(of_a), field.type))
        else:
            values = columns[field.name]
            missing = np.isnan(values) if values.dtype.kind == "f" else None
            arrays.append(pa.array(values, mask=missing).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _compare_tensors(
    lake: Lake, a: Tensor, b: Tensor, mask: Mask, permutations: int, most_rows: int, seed: int
) -> None:
    if most_rows < 100:
        raise InputError(f"{most_rows} rows are too few to compare tensors on; give 100 or more")
    parameters: dict[str, Json] = {
        "a": a.name,
        "b": b.name,
        "mask": mask.name,
        "permutations": permutations,
        "most_rows": most_rows,
        "seed": seed,
    }
    inputs = {"a": a.fingerprint, "b": b.fingerprint, "mask": mask.fingerprint}
    inputs["version"] = CODE_VERSION
    same = {"tensor_a": a.name, "tensor_b": b.name, "mask": mask.name}
    inputs["replaces"] = replaced(lake, "similarities", same, parameters, inputs)
    with lake.run("compare", parameters, inputs) as run:
        if run.done:
            say(f"compare: {a.name} with {b.name} under {mask.name} found complete")
            return
        run.hold(f"comparison:{a.name}:{b.name}:{mask.name}")
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
        if not all(np.isfinite(one.value) for one in found.values()):
            raise InputError(
                f"{a.name} or {b.name} is constant under the mask {mask.name}; choose another "
                "mask or tensor"
            )
        rows: list[dict[str, Any]] = [
            same
            | {
                "method": method,
                "value": one.value,
                "null_mean": one.null_mean,
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
        _replace(run, {"similarities": table}, same, f"{a.name} with {b.name}")


def _replace(
    run: Run, tables: Mapping[str, pa.Table], same: Mapping[str, str], message: str
) -> None:
    """Put ``tables`` in place of an earlier comparison's rows, in one commit."""

    def delete(transaction: Transaction) -> None:
        for table in tables:
            deletion(transaction, table, same)

    run.append(tables, message, check=delete)
