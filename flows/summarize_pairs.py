"""summarize_pairs: which features of some codes fire together, and which form families."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.features.cofirings import Margins, Sides
from actlake.analytics.features.families import Family, families
from actlake.analytics.features.feature_blocks import feature_blocks
from actlake.analytics.features.joint_chance import joint_chance
from actlake.analytics.features.pair_ranking import PairRanking, Partners
from actlake.analytics.features.redundancy import MOST_FEATURES, redundancy
from actlake.analytics.hypotheses.correction import benjamini_hochberg
from actlake.analytics.statistic import merge_in_order
from actlake.flows.codes_blocks import LEVELS, blocks, require_rows
from actlake.flows.codes_sets import inputs_of, members_of_name, refuse_others
from actlake.flows.document_pools import document_pool
from actlake.flows.feature_table import feature_table
from actlake.flows.pair_counting import Blocks, count_pairs, is_one, of_features
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = ["summarize_pairs"]

CODE_VERSION = "1"
"""Changes whenever a result's meaning changes."""
VALUES = 5_000_000
"""Values that are counted together, unless one shard has more: each is held at 40 bytes."""


def summarize_pairs(
    lake: Lake,
    *,
    codes: str,
    mask: str = "no_special",
    level: str = "token",
    top: int = 20,
    min_fires: int = 20,
    min_joint: int = 5,
    with_redundancy: bool = False,
) -> None:
    """Fill feature_pairs and feature_families for codes, or a set of them, under a mask at a level.

    Every pair of features is counted, then the best partners of each feature are kept
    (``analytics.features.pair_ranking``). What an earlier call left of the same codes, mask and
    level is replaced. Families are made of the pairs that are kept.

    codes
        Of a set, which was summarized under the mask, its codes are counted as one. What is told of
        it goes when the set is summarized with other codes, or in another order.
    level
        token: units are rows under the mask; their p takes rows for independent, which those of
        one document are not. document: units are documents with such rows, values are maxima.
    top
        Partners to keep of each feature.
    min_fires, min_joint
        Units on which both features of a pair must fire, each by itself and together.
    with_redundancy
        Also predict each feature from all others that fire often enough; where those are more
        than 4,096, from those of its block, of as many, into which partners come together. That
        is a lower bound of what all others explain, and pairs across blocks have no weight.

    Rows of any number: 1.1 to 1.8 GB, unless one shard has more than 5 million values. Codes with
    more are read once for every 32 million pairs of features, 6 times for 16,384 features
    however many rows there are, three times for what each feature does alone, and once a block of
    redundancy, which takes 600 MB. Documents are held whole: 100 bytes for each and feature that
    fires in it.
    InputError if no row is under the mask, or no two features fire often enough.
    """
    members = members_of_name(lake, codes, mask)
    _check(level, top, min_fires, min_joint)
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": codes,
        "mask": mask,
        "level": level,
        "top": top,
        "min_fires": min_fires,
        "min_joint": min_joint,
        "with_redundancy": with_redundancy,
    }
    inputs = inputs_of(lake, members, codes, mask)
    inputs |= {"mask": rule.fingerprint, "version": CODE_VERSION}
    same = {"codes": codes, "mask": mask, "level": level}
    inputs["replaces"] = replaced(lake, "feature_pairs", same, parameters, inputs)
    for one in members:
        require_rows(lake, one, rule)
    with lake.run("summarize_pairs", parameters, inputs) as run:
        if run.done:
            say(f"summarize_pairs: {codes} under {mask} by {level} found complete")
            return
        run.hold(f"pairs:{codes}:{mask}:{level}")
        again = _blocks(lake, members, rule, run, level)
        margins = merge_in_order(Margins.of(one) for one in again())
        if (margins.fires >= min_fires).sum() < 2:
            raise InputError(
                f"no two features of {codes} fire on {min_fires} of the {margins.n:,} units under "
                f"{mask}; give a smaller --min-fires, or more rows"
            )
        often = margins.fires >= min_fires
        ranking = PairRanking(margins, top=top, min_fires=min_fires, min_joint=min_joint)
        count_pairs(again, often, ranking, f"{codes} under {mask}")
        best = ranking.finish()
        chance = joint_chance(
            best.joint, margins.fires[best.feature], margins.fires[best.partner], margins.n
        )
        q = _q(best, chance, ranking.n_tests)
        found = families(best.feature, best.partner, best.joint, q, margins.fires, margins.n)
        columns = _columns(best, margins) | {"p": chance, "q": q}
        columns |= {"decoder_cosine": _cosines(lake, members[0], best)}
        nothing = np.full(len(q), np.nan)
        columns |= (
            _redundancy(again, often, margins, best)
            if with_redundancy
            else {"weight": nothing, "redundancy_a": nothing}
        )
        columns["n_tests"] = np.full(len(q), ranking.n_tests)
        key = {**same, "run": run.run}
        tables = {
            "feature_pairs": feature_table("feature_pairs", columns, key),
            "feature_families": _families_table(found, margins, key),
        }

        def replace(transaction: Transaction) -> None:
            refuse_others(transaction, codes, mask, members)
            for table in tables:
                deletion(transaction, table, same)

        run.append(tables, f"pairs of {codes} under {mask} by {level}", check=replace)
    say(
        f"summarize_pairs: {codes} under {mask}: {ranking.n_tests:,} pairs of "
        f"{int(often.sum()):,} features counted on "
        f"{margins.n:,} units; {len(q):,} partners kept, {int((q <= 0.05).sum()):,} at q <= 0.05; "
        f"{len(found)} families"
    )


def _check(level: str, top: int, min_fires: int, min_joint: int) -> None:
    if level not in LEVELS:
        raise InputError(f"no level {level!r}; choose one of {', '.join(LEVELS)}")
    for name, value in (("top", top), ("min_fires", min_fires), ("min_joint", min_joint)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")


def _blocks(lake: Lake, members: Sequence[Codes], mask: Mask, run: Run, level: str) -> Blocks:
    """What gives the units anew each time it is called; one block is read once."""
    if level == "document":
        whole = _documents(lake, members, mask, run)
        return lambda: iter((whole,))

    def read() -> Iterator[Csr]:
        return blocks(lake, members, mask, most=VALUES)

    first = list(islice(read(), 2))
    return read if len(first) > 1 else lambda: iter(first)  # too many to hold


def _documents(lake: Lake, members: Sequence[Codes], mask: Mask, run: Run) -> Csr:
    """The documents that have rows under the mask."""
    pools = (document_pool(lake, one, mask, run).finish("max") for one in members)
    kept, *others = [pool.values[np.flatnonzero(pool.rows > 0)] for pool in pools]
    if others:
        kept = scipy.sparse.vstack((kept, *others), format="csr")
    indptr = kept.indptr.astype(np.int64)
    return Csr(indptr, kept.indices.astype(np.uint32), kept.data, members[0].n_features)


def _redundancy(
    again: Blocks, often: NDArray[np.bool_], margins: Margins, best: Partners
) -> dict[str, NDArray[Any]]:
    """Weight and redundancy of each pair; no weight across blocks, where there are several."""
    features = np.flatnonzero(often)
    place = np.full(len(often), -1)
    place[features] = np.arange(len(features))
    pair = place[best.feature], place[best.partner]
    block = feature_blocks(*pair, best.score, len(features), most=MOST_FEATURES)
    mean_square = float(margins.square[often].mean())
    weight, explained = np.full(len(best.feature), np.nan), np.full(len(often), np.nan)
    held = [Sides(of_features(one, often)) for one in again()] if is_one(again) else []
    count = int(block.max(initial=0)) + 1
    with progress("redundancy of features", len(features), "features") as advance:
        for number in range(count):
            members = features[block == number]
            gram: NDArray[Any] = np.zeros((len(members), len(members)))
            for sides in held or (Sides(of_features(one, often)) for one in again()):
                matrix = sides.features[1][members]
                gram += (matrix @ matrix.T).toarray()
            found = redundancy(gram, mean_square=mean_square)
            place[features] = -1
            place[members] = np.arange(len(members))
            a, b = place[best.feature], place[best.partner]
            both = np.flatnonzero((a >= 0) & (b >= 0))
            weight[both] = found.weights[b[both], a[both]]
            explained[members] = found.explained
            advance(len(members))
    if count > 1:
        say(
            f"summarize_pairs: redundancy of {len(features):,} features by {count} blocks of at "
            f"most {MOST_FEATURES:,}, each a lower bound"
        )
    return {"weight": weight, "redundancy_a": explained[best.feature]}


def _q(best: Partners, p: NDArray[np.float64], n_tests: int) -> NDArray[np.float64]:
    """Over all pairs that were tested; each that is kept counts once, though it has two rows."""
    low, high = np.minimum(best.feature, best.partner), np.maximum(best.feature, best.partner)
    _, first, back = np.unique(
        np.stack((low, high), axis=1), axis=0, return_index=True, return_inverse=True
    )
    return benjamini_hochberg(p[first], n_tests=n_tests)[back.ravel()]


def _columns(best: Partners, margins: Margins) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "feature_a": best.feature,
        "feature_b": best.partner,
        "rank": best.rank,
        "joint": best.joint,
        "product": best.product,
        "n": np.full(len(best.feature), margins.n),
    }
    for side, feature in (("a", best.feature), ("b", best.partner)):
        columns |= {
            f"fires_{side}": margins.fires[feature],
            f"sum_{side}": margins.total[feature],
            f"square_{side}": margins.square[feature],
        }
    return columns


def _cosines(lake: Lake, codes: Codes, best: Partners) -> NDArray[np.float64]:
    """Of the decoder directions of each pair; NaN where one is missing."""
    cosine = np.full(len(best.feature), np.nan)
    directions = lake.dictionary(codes.dictionary).arrays.get("W_dec")
    if directions is None:
        return cosine
    norm = np.linalg.norm(directions.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit = directions / norm
    for at in range(0, len(cosine), 100_000):
        some = slice(at, at + 100_000)
        cosine[some] = (unit[best.feature[some]] * unit[best.partner[some]]).sum(axis=1)
    return cosine


def _families_table(found: Sequence[Family], margins: Margins, key: dict[str, str]) -> pa.Table:
    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one, name) for one in found] or [np.zeros(0)])

    sizes = [len(one.features) for one in found]
    parents = joined("parents").astype(np.float64)
    parents[parents < 0] = np.nan
    features = joined("features").astype(np.int64)
    columns = {
        "family": np.repeat(np.arange(len(found)), sizes),
        "round": np.repeat(np.array([one.round for one in found], np.int64), sizes),
        "feature": features,
        "parent": parents,
        "depth": joined("depth").astype(np.int64),
        "n_fires": margins.fires[features],
        "share": joined("share"),
    }
    return feature_table("feature_families", columns, key)
