"""Scores of pairs that are independent: what chance gives, and no more."""

import numpy as np
import pyarrow as pa
import pytest

from actlake.analytics.features.cofirings import CoFirings, Margins, Sides
from actlake.storage.csr import csr_from_dense
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake


def test_pair_scores__of_independent_features_are_those_of_chance(copied: Lake) -> None:
    """analytics.D8: PMI goes to 0, and phi has the standard deviation 1 / √(N - 1)."""
    rng = np.random.default_rng(8)
    n, features = 20_000, 60
    x = rng.random((n, features)) < rng.uniform(0.05, 0.3, features)
    block = csr_from_dense(x.astype(np.float32))
    margins, sides = Margins.of(block), Sides(block)
    first, second, joint, product = CoFirings.of(sides, start=0, stop=features).pairs()
    assert len(first) == features * (features - 1) // 2
    columns = {
        "feature_a": first,
        "rank": np.ones(len(first)),
        "feature_b": second,
        "joint": joint,
        "product": product,
        **{
            f"{name}_{side}": of[at]
            for name, of in (
                ("fires", margins.fires),
                ("sum", margins.total),
                ("square", margins.square),
            )
            for side, at in (("a", first), ("b", second))
        },
        **{
            name: np.full(len(first), value)
            for name, value in (("n", n), ("p", 0.5), ("q", 0.5), ("n_tests", 1))
        },
    }
    texts = {"codes": "independent", "mask": "all", "level": "token", "run": "test"}
    schema = arrow_schema("feature_pairs")
    arrays = [
        pa.array(columns[one.name]).cast(one.type)
        if one.name in columns
        else pa.repeat(pa.scalar(texts.get(one.name), one.type), len(first))
        for one in schema
    ]
    with copied.run("test", {"key": "independent"}, {}) as run:
        run.append({"feature_pairs": pa.Table.from_arrays(arrays, schema=schema)}, "pairs")
    found = copied.table("pair_scores").filter(codes="independent").collect()
    phi, pmi = found["phi"].to_numpy(), found["pmi"].to_numpy()
    pairs, deviation = len(first), 1 / np.sqrt(n - 1)
    # Pairs that share a feature hardly depend on each other. Five standard errors of each.
    assert abs(phi.mean()) < 5 * deviation / np.sqrt(pairs)
    assert phi.std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * pairs))
    # To first order PMI is phi over the geometric mean of the odds, and below 0 by half its square.
    rate = margins.fires / n
    odds = rate / (1 - rate)
    spread = deviation / np.sqrt(odds[first] * odds[second])
    assert np.std(pmi / spread) == pytest.approx(1, rel=5 / np.sqrt(2 * pairs))
    assert abs((pmi / spread + spread / 2).mean()) < 5 / np.sqrt(pairs)
    assert np.abs(pmi).max() < 5 * spread.max()
