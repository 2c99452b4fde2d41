"""What the tiny lake holds: 19 tokens in four documents, whose every number can be counted by hand.

The texts hold a combining accent, two-byte letters and an emoji of five code points that a
tokenizer cut in two. Summaries are computed here with numpy, not by the project.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TEXTS = ("the cat sat", "naïve 日本 cafe\u0301 end", f"family {FAMILY} the cat", "the dog ran")
LABELS: tuple[dict[str, str | int | None], ...] = (
    {"party": "red", "year": 1901},
    {"party": "blue", "year": 1902},
    {"party": "red", "year": 1903},
    {"party": None, "year": 1904},
)
START = "<s>"
CODES, DOCUMENT_CODES = "topk:toy:resid@tiny", "identity:toy:pooled@tiny"
N_FEATURES = 6
THE, CAT, LONE, DEAD, WORDS, SPECIAL = range(N_FEATURES)
"""Features: fire on " the", on " cat", on one row, never, on every word, and on every special."""
KEPT = 3
"""Examples and tokens that the summaries keep."""


def words() -> list[tuple[int, str, int, int]]:
    """Document, text and span of each row; a special first in each document.

    Its empty span is wherever its tokenizer says, in one of them at the end of the text.
    """
    rows = []
    for document, text in enumerate(TEXTS):
        place = len(text) if document == 1 else 0
        rows.append((document, START, place, place))
        for found in re.finditer(r" ?\S+", text):
            row = (document, found[0], *found.span())
            rows += [row, row] if FAMILY in found[0] else [row]
    return rows


ROWS = words()
PIECES = {" " + FAMILY: ("ð", "Ł")}
"""What the vocabulary holds for the halves of the emoji: pieces that are no text."""


def vocabulary() -> list[str]:
    texts = [piece for _, text, _, _ in ROWS for piece in PIECES.get(text, (text,))]
    return list(dict.fromkeys(texts))


def token_ids() -> NDArray[np.int64]:
    known, ids = vocabulary(), []
    for index, (_, text, _, _) in enumerate(ROWS):
        second = index > 0 and ROWS[index - 1] == ROWS[index]
        ids.append(known.index(PIECES[text][second] if text in PIECES else text))
    return np.array(ids)


def strengths() -> NDArray[np.float32]:
    """Shape (19, 6), exact in float16 and without ties."""
    text = [row[1].strip() for row in ROWS]
    dense = np.zeros((len(ROWS), N_FEATURES), np.float32)
    for row, word in enumerate(text):
        strength = 1 + row / 4
        dense[row, THE] = strength * (word == "the")
        dense[row, CAT] = 8 * strength * (word == "cat")
        dense[row, LONE] = strength * (word == "end")
        dense[row, WORDS] = strength * (word != START)
        dense[row, SPECIAL] = strength * (word == START)
    return dense


DENSE = strengths()
DOCUMENT_DENSE = np.array([[1, 0], [2, 0], [0, 4], [3, 5]], np.float32)

FEATURES: tuple[dict[str, float | int], ...] = tuple(
    {
        "decoder_norm": 1.0,
        "logit_std": 2.0,
        "nearest_decoder": near,
        "nearest_decoder_cosine": cosine,
        "nearest_decoder_p": p,
    }
    for near, cosine, p in (
        (1, 0.95, 0.001),
        (0, 0.95, 0.001),
        (3, 0.5, 0.02),
        (2, 0.5, 0.02),
        (5, 0.1, 0.9),
        (4, 0.1, 0.9),
    )
)
"""Weight facts of the features: THE and CAT point almost the same way."""
NEIGHBOURS = (
    *((THE, 1, CAT, 0.95, 0.001), (CAT, 1, THE, 0.95, 0.001)),
    *((LONE, 1, DEAD, 0.5, 0.02), (DEAD, 1, LONE, 0.5, 0.02)),
    *((WORDS, 1, SPECIAL, 0.1, 0.9), (SPECIAL, 1, WORDS, 0.1, 0.9)),
    *((THE, 2, DEAD, 0.45, 0.03), (DEAD, 2, THE, 0.45, 0.03), (LONE, 2, CAT, 0.42, 0.04)),
    (WORDS, 2, LONE, 0.05, 0.99),
)
"""Feature, rank, neighbour, cosine and p; CAT is near to no other than THE, by its own list."""


def summary(
    codes: str, mask: str, dense: NDArray[np.float32], kept: NDArray[np.bool_], ids: Any
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables of a summary, from the definitions in storage/fields.py."""
    found: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "feature_statistics",
            "feature_profiles",
            "feature_histograms",
            "feature_positions",
            "feature_examples",
            "feature_tokens",
        )
    }
    document = np.array([row[0] for row in ROWS]) if ids is not None else np.arange(len(kept))
    position = np.array([int((document[:row] == document[row]).sum()) for row in range(len(kept))])
    for feature in range(dense.shape[1]):
        key = {"codes": codes, "mask": mask, "feature": feature}
        column = np.where(kept, dense[:, feature], 0).astype(float)
        rows = np.flatnonzero(column)
        active, n_rows = column[rows], int(kept.sum())
        statistics: dict[str, Any] = {
            "n_rows": n_rows,
            "n_fires": len(rows),
            "density": len(rows) / n_rows,
            "mean_all": column.sum() / n_rows,
            "std_all": column[kept].std(),
            "n_documents": len(set(document[kept])),
            "n_documents_fires": len(set(document[rows])),
            "run": "",
        }
        if len(rows):
            statistics |= {
                "mean_active": active.mean(),
                "std_active": active.std(),
                "min_active": active.min(),
                "max_active": active.max(),
                "q50_active": np.quantile(active, 0.5),
                "q90_active": np.quantile(active, 0.9),
                "q99_active": np.quantile(active, 0.99),
            }
        found["feature_statistics"].append(key | statistics)
        found["feature_profiles"].append(key | {"run": ""})
        for start, stop in ((0, 1), (1, 2), (2, 4), (4, 8)):
            here = kept & (position >= start) & (position < stop)
            fires = int((column[here] > 0).sum())
            place = {"position_start": start, "position_stop": stop, "n_rows": int(here.sum())}
            if fires:
                found["feature_positions"].append(key | place | {"n_fires": fires})
        bins = np.ceil(np.log(active) / np.log(1.01 / 0.99)).astype(int)
        for one, count in zip(*np.unique(bins, return_counts=True), strict=True):
            found["feature_histograms"].append(key | {"bin": int(one), "count": int(count)})
        for rank, row in enumerate(rows[np.argsort(-active)][:KEPT], start=1):
            found["feature_examples"].append(
                key | {"kind": "top", "rank": rank, "row": int(row), "value": float(column[row])}
            )
        for rank, row in enumerate(rows[::-1][:KEPT], start=1):
            found["feature_examples"].append(
                key | {"kind": "random", "rank": rank, "row": int(row), "value": float(column[row])}
            )
        for rank, row in enumerate(np.flatnonzero(kept & (column == 0))[:KEPT], start=1):
            found["feature_examples"].append(
                key | {"kind": "silent", "rank": rank, "row": int(row), "value": 0.0}
            )
        if ids is None:
            continue
        if len(rows):
            counts = np.unique(ids[rows], return_counts=True)[1]
            share = counts / counts.sum()
            found["feature_profiles"][-1] |= {
                "n_tokens": len(counts),
                "token_entropy": float(-(share * np.log2(share)).sum()),
                "top_token_share": float(share.max()),
                "space_share": float(np.mean([ROWS[row][1][:1] == " " for row in rows])),
            }
        profile = []
        for token in np.unique(ids[rows]):
            here = ids[rows] == token
            lift = here.mean() / (ids[kept] == token).mean()
            profile.append((int(token), int(here.sum()), active[here].mean(), lift))
        for kind, column_of in (("count", 1), ("lift", 3), ("mean", 2)):
            best = sorted(profile, key=lambda one: (-one[column_of], one[0]))[:KEPT]
            found["feature_tokens"] += [
                key
                | {"kind": kind, "rank": rank}
                | dict(zip(("token_id", "count", "mean", "lift"), one, strict=True))
                for rank, one in enumerate(best, start=1)
            ]
    return found
