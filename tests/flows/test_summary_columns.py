"""Every column that features are ranked by, beside numpy and scipy on the dense codes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from actlake import sql
from actlake.analytics.dictionaries.logit_effects import Unembedding
from actlake.flows.extraction import unembedding
from actlake.flows.summarize_weights import summarize_weights
from actlake.storage.lake import Lake
from tests.flows.counted import CODES, MASKS, Dense, stored, table, under
from tests.flows.counted import counted_lake as counted_lake

Columns = dict[str, list[float | None]]
WITHIN = 0.0101
"""Of quantiles by the histogram."""
NO_SOURCES = {"n_sources_fires": None, "gini_sources": None}
LEAST_LIFT = 5
"""Firings that a token needs to be ranked by lift."""


def bits(counts: NDArray[Any]) -> float:
    """Entropy with Miller's correction."""
    seen = counts[counts > 0]
    return float(stats.entropy(seen, base=2) + (len(seen) - 1) / (2 * seen.sum() * np.log(2)))


def more_bits(counts: NDArray[Any], all_counts: NDArray[Any]) -> float:
    """Divergence of counts from those of all rows, with the correction, not below 0."""
    bias = ((counts > 0).sum() - 1) / (2 * counts.sum() * np.log(2))
    return max(float(stats.entropy(counts, all_counts, base=2) - bias), 0.0)


def of_values(lake: Lake, mask: str) -> Columns:
    """Columns that the values alone say."""
    rows = under(lake, mask)
    document = lake.codes(CODES).rowset.column("document")[rows]
    found: Columns = {}
    for values in stored(lake)[rows].T:
        fires = values > 0
        active, held = values[fires], len(np.unique(document[fires]))
        one: dict[str, float | None] = dict(NO_SOURCES)
        one |= {
            "n_fires": fires.sum(),
            "density": fires.mean(),
            "n_documents": len(np.unique(document)),
            "n_documents_fires": held,
            "document_density": held / len(np.unique(document)),
            "consistent_activation": fires.sum() / held if held else None,
            "mean_all": values.mean(),
            "std_all": values.std(),
        }
        one |= dict.fromkeys(("gini_documents", "burstiness"))
        for name, of in (("active", active), ("all", values)):
            varies = len(of) and of.min() < of.max()
            one[f"skew_{name}"] = stats.skew(of) if varies else None
            one[f"kurtosis_{name}"] = stats.kurtosis(of) if varies else None
        for name in ("mean", "std", "min", "max"):
            one[f"{name}_active"] = getattr(active, name)() if len(active) else None
        for name, share, of in (
            ("q50_active", 0.5, active), ("q90_active", 0.9, active), ("q99_active", 0.99, active),
            ("q90_all", 0.9, values), ("q99_all", 0.99, values), ("q999_all", 0.999, values),
        ):  # fmt: skip
            one[name] = np.quantile(of, share, method="lower") if len(of) else None
        if len(active):
            counts = np.bincount(document[fires], minlength=document.max() + 1)
            counts = counts[np.unique(document)]
            gaps = np.diff(np.flatnonzero(fires))
            one["gini_documents"] = np.abs(counts[:, None] - counts).mean() / 2 / counts.mean()
            if (n := len(active)) > 2:
                ratio, up, down = gaps.std() / gaps.mean(), np.sqrt(n), np.sqrt(n - 2)
                one["burstiness"] = (up * ratio - down) / ((up - 2) * ratio + down)
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return found


def of_tokens(lake: Lake, mask: str) -> Columns:
    """Columns of the tokens and positions that features fire on, with those of profiles alone."""
    rowset, rows = lake.codes(CODES).rowset, under(lake, mask)
    document, position = rowset.column("document"), rowset.column("position")
    token = rowset.column("token_id")
    before = np.where(np.diff(document, prepend=-1) == 0, np.roll(token, 1), -1)
    after = np.where(np.diff(document, append=-1) == 0, np.roll(token, -1), -1)
    bins = np.where(position > 0, np.floor(np.log2(np.maximum(position, 1))) + 1, 0).astype(int)
    named = "SELECT text FROM vocabulary ORDER BY token_id"
    texts = [str(text) for (text,) in lake.sql(named).rows()]
    seen, bin_rows = np.bincount(token[rows], minlength=len(texts)), np.bincount(bins[rows])
    found: Columns = {}
    for values in stored(lake).T:
        fired = rows & (values > 0)
        n, counts = fired.sum(), np.bincount(token[fired], minlength=len(texts))
        one: dict[str, float | None] = {}
        if n:
            lift = (counts / n) / np.maximum(seen / seen.sum(), 1e-300)
            # Ties go to the larger count, then to the smaller token.
            first = int(np.lexsort((np.arange(len(texts)), -counts))[0])
            placed = np.bincount(bins[fired], minlength=len(bin_rows))
            above = (placed + 1) / (n * bin_rows / rows.sum() + 1)
            peak = int(np.argmax(np.where(placed > 0, above, -1)))
            said = [texts[at] for at in token[fired]]
            letters = [next((c for c in text if c.isalpha()), "") for text in said]
            digits = [any(c.isdigit() for c in text) for text in said]
            marks = [
                bool(text.strip()) and not letter and not digit
                for text, letter, digit in zip(said, letters, digits, strict=True)
            ]
            one |= {
                "n_tokens": (counts > 0).sum(),
                "token_entropy": bits(counts),
                "token_bits": more_bits(counts, seen),
                "top_token_share": counts.max() / n,
                "top_token_count": counts.max(),
                "top_token_lift": lift[first],
                "space_share": np.mean([text[:1].isspace() for text in said]),
                "capital_share": np.mean([letter.isupper() for letter in letters]),
                "digit_share": float(np.mean(digits)),
                "punctuation_share": float(np.mean(marks)),
                "position_bits": more_bits(placed, bin_rows),
                "position_peak": 0 if peak == 0 else 2 ** (peak - 1),
                "position_peak_share": placed[peak] / n,
                "position_lift": above[peak],
            }
            enough = np.flatnonzero(counts >= LEAST_LIFT)
            if len(enough):
                order = np.lexsort((enough, -counts[enough], -lift[enough].astype(np.float32)))
                one["lift_token_count"] = counts[enough[order[0]]]
                one["lift_token_lift"] = lift[enough[order[0]]]
            for side, beside in (("previous", before), ("next", after)):
                here = beside[fired & (beside >= 0)]
                if len(here):
                    one[f"{side}_token_share"] = np.bincount(here).max() / len(here)
                    one[f"{side}_entropy"] = bits(np.bincount(here))
        for name in (
            *("n_tokens", "token_entropy", "token_bits", "top_token_share", "top_token_count"),
            *("top_token_lift", "lift_token_count", "lift_token_lift", "space_share"),
            *("capital_share", "digit_share", "punctuation_share", "position_bits"),
            *("position_peak", "position_peak_share", "position_lift", "previous_token_share"),
            *("next_token_share", "previous_entropy", "next_entropy"),
        ):
            found.setdefault(name, []).append(one.get(name))
    return found


def of_weights(decoder: Dense, encoder: Dense, unembedding: Dense) -> Columns:
    norm, other = np.linalg.norm(decoder, axis=1), np.linalg.norm(encoder, axis=1)
    unit, (n, width) = decoder / norm[:, None], decoder.shape
    cosine = unit @ unit.T - 9 * np.eye(n)
    best = cosine.max(axis=1)

    def below(t: float) -> float:  # of a random cosine, from its density
        density = special.gamma(width / 2) / special.gamma((width - 1) / 2) / np.sqrt(np.pi)
        area, _ = integrate.quad(lambda x: (1 - x * x) ** ((width - 3) / 2), -1, t)
        return float(density * area)

    effects = decoder @ unembedding.T
    squares = unit**2
    columns = {
        "decoder_norm": norm,
        "encoder_norm": other,
        "encoder_decoder_cosine": (decoder * encoder).sum(axis=1) / norm / other,
        "nearest_decoder_cosine": best,
        "nearest_decoder_p": np.array([1 - below(t) ** (n - 1) for t in best]),
        "participation_ratio": 1 / (squares**2).sum(axis=1),
        "logit_skew": stats.skew(effects, axis=1),
        "logit_kurtosis": stats.kurtosis(effects, axis=1),
    }
    return {name: values.tolist() for name, values in columns.items()}


def compared(found: list[Any], right: list[Any], what: str) -> None:
    assert [value is None for value in found] == [value is None for value in right], what
    for value, expected in zip(found, right, strict=True):
        if expected is not None:
            tolerance = WITHIN if what.startswith("q") else 2e-5
            assert value == pytest.approx(expected, rel=tolerance, abs=1e-6), what


@pytest.mark.parametrize("mask", MASKS)
def test_feature_summary__says_what_numpy_and_scipy_compute(lake: Lake, mask: str) -> None:
    right = of_values(lake, mask) | of_tokens(lake, mask)
    told = table(lake, "feature_summary", mask).sort("feature")
    profiles = table(lake, "feature_profiles", mask).sort("feature")
    for name, values in right.items():
        of = profiles if name in ("previous_entropy", "next_entropy") else told
        compared(of[name].to_list(), values, name)


def test_top_features__ranks_by_what_numpy_and_scipy_compute(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    arrays = copied.dictionary("d").arrays
    decoder, encoder = arrays["W_dec"].astype(float), arrays["W_enc"].T.astype(float)
    [(words,)] = copied.sql("SELECT count(*) FROM vocabulary").rows()
    shape = (int(str(words)), decoder.shape[1])
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    head = Unembedding(weight, np.ones(decoder.shape[1], np.float32), centres=False)
    monkeypatch.setattr(unembedding, "has_unembedding", lambda _facts: True)
    monkeypatch.setattr(unembedding, "load_unembedding", lambda _facts: head)
    summarize_weights(copied, dictionary="d")
    by_weights = of_weights(decoder, encoder, weight.astype(float))
    features = copied.table("features").sort("feature").collect()
    compared(features["encoder_norm"].to_list(), by_weights.pop("encoder_norm"), "encoder_norm")

    right = of_values(copied, "late") | of_tokens(copied, "late") | by_weights
    del right["previous_entropy"], right["next_entropy"]
    assert sql.text("queries", "top_features").count(" THEN s.") == len(right)
    for by, values in right.items():
        given: dict[str, Any] = {"codes": CODES, "mask": "late", "by": by, "limit": 99}
        found = copied.query("top_features", order="desc", **given).pl()
        compared(found.sort("feature")["by_value"].to_list(), values, by)
        assert found["by_value"].drop_nulls().is_sorted(descending=True), by
