"""Matches between the features of two codes, by what they fire on and by where they point."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.similarity.decoders import match_decoders
from actlake.analytics.similarity.matching import FeatureMatches, match_features
from actlake.analytics.similarity.partners import Matches
from actlake.flows.aligned import aligned_codes
from actlake.flows.pair import Pair
from actlake.flows.progress import progress, say
from actlake.storage.codes import Codes
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask

__all__ = ["compare_codes"]

CODE_VERSION = "2"
"""Changes whenever a result's meaning changes."""


def compare_codes(
    lake: Lake,
    a: Codes,
    b: Codes,
    mask: Mask,
    *,
    min_fires: int,
    permutations: int,
    most_rows: int,
    seed: int,
) -> None:
    """Fill feature_matches and comparisons for two codes, as ``compare`` says."""
    if min_fires < 2:
        raise InputError(f"features that fire on {min_fires} units cannot be compared; give 2")
    if most_rows < 100:
        raise InputError(f"{most_rows} rows are too few to compare codes on; give 100 or more")
    pair = Pair("codes", a.name, b.name, mask.name)
    parameters: dict[str, Json] = {
        "min_fires": min_fires,
        "permutations": permutations,
        "most_rows": most_rows,
        "seed": seed,
    }
    inputs = {"a": a.fingerprint, "b": b.fingerprint, "mask": mask.fingerprint}
    inputs["version"] = CODE_VERSION
    with pair.run(lake, "comparisons", parameters, inputs) as run:
        if run.done:
            return
        aligned = aligned_codes(lake, a, b, mask, most_rows=most_rows, seed=seed)
        shares = aligned.coverage.finish()
        say(
            f"compare: {len(aligned.document):,} units, {shares['text']:.1%} of the text, "
            f"{shares['tokens_a']:.1%} and {shares['tokens_b']:.1%} of the rows are aligned"
        )
        with progress(f"match {a.name} with {b.name}", permutations + 1, "searches") as advance:
            found = match_features(
                aligned.a,
                aligned.b,
                aligned.document,
                min_fires=min_fires,
                permutations=permutations,
                seed=seed,
                advance=advance,
            )
        _require_tests(found, a, b, min_fires)
        key = pair.columns | {"run": run.run}
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
        pair.replace(run, tables)
        for table in matches:
            say(f"compare: {_summary(table)}")


def _require_tests(found: FeatureMatches, a: Codes, b: Codes, min_fires: int) -> None:
    of_a = found.matches.of_a
    for codes, tested in ((a, of_a), (b, ~of_a)):
        if not tested.any():
            raise InputError(
                f"no feature of {codes.name} fires on {min_fires} of the {found.n_units:,} units "
                "that both sides share; give a smaller --min-fires, or more rows"
            )


def _summary(table: pa.Table) -> str:
    """What a table of matches says, in one line."""
    scores = [
        np.asarray(table[name].to_numpy(zero_copy_only=False), np.float64)
        for name in ("score", "null_mean", "q")
    ]
    score, chance, q = scores
    of_a = table["best_of"].to_numpy(zero_copy_only=False) == "a"
    mutual = table["is_mutual"].to_numpy(zero_copy_only=False) & of_a
    method = table["method"][0].as_py()
    return (
        f"by {method}, {int((mutual & (q <= 0.05)).sum()):,} of {int(of_a.sum()):,} features have "
        f"a mutual match with q ≤ 0.05; mean best score {np.nanmean(score[of_a]):.2f}, "
        f"by chance {np.nanmean(chance[of_a]):.2f}"
    )


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
