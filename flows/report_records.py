"""What the report says of features together: flags, families, labels, sets of tokens."""

from collections.abc import Mapping
from typing import Any

from actlake.flows.summaries import summaries
from actlake.flows.visible import visible, visible_token
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["records"]

FAMILIES, MEMBERS, FEATURES, SETS, TOKENS = 4, 8, 5, 3, 5
Rows = list[dict[str, Any]]


def records(lake: Lake, mask: str | None) -> dict[str, Rows]:
    """Rows of ``flags``, ``families``, ``told`` (features of labels) and ``sets``, to render.

    Under ``mask``, or under each codes' newest, where a row is of one. What is not there yet has no
    rows.
    """
    tokens = _Tokens(lake)
    return {
        "flags": _flags(lake, mask),
        "families": _families(lake, mask, tokens),
        "told": _told(lake, mask, tokens),
        "sets": _sets(lake),
    }


class _Tokens:
    """The tokens that a feature fires on most, asked for at once for each codes and mask."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[tuple[str, str], dict[int, list[str]]] = {}

    def of(self, codes: str, mask: str, feature: int) -> list[str]:
        """Text of its first tokens; none where it has none, or the codes no summary."""
        if (codes, mask) not in self._known:
            query = """
                SELECT t.feature, list(v.text ORDER BY t.rank) AS texts FROM feature_tokens AS t
                JOIN codes_and_sets AS c USING (codes)
                JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = t.token_id
                WHERE t.codes = $codes AND t.mask = $mask AND t.kind = 'count' AND t.rank <= $most
                GROUP BY t.feature
            """
            found = self._lake.sql(query, codes=codes, mask=mask, most=TOKENS).arrow().to_pylist()
            self._known[codes, mask] = {
                row["feature"]: [visible_token(text) for text in row["texts"]] for row in found
            }
        return self._known[codes, mask].get(feature, [])


def _flags(lake: Lake, mask: str | None) -> Rows:
    """A row for each summarized codes: how many features have each flag."""
    try:
        shown = summaries(lake, mask=mask)
    except InputError:
        return []
    found = []
    for one in shown:
        asked: dict[str, Any] = {"codes": one.codes, "mask": one.mask}
        health = lake.query("health_of_codes", **asked).arrow().to_pylist()
        flags = {row["flag"]: row for row in health}
        found.append(asked | {"n_features": one.n_features, "n_rows": one.n_rows, "flags": flags})
    return found


def _families(lake: Lake, mask: str | None, tokens: _Tokens) -> Rows:
    """The largest families of each codes, mask and level."""
    query = """
        SELECT codes, mask, level, count(DISTINCT family) AS families FROM feature_families
        WHERE mask = coalesce($mask, mask) GROUP BY ALL ORDER BY ALL
    """
    found: Rows = []
    for key in lake.sql(query, mask=mask).arrow().to_pylist():
        asked = {name: key[name] for name in ("codes", "mask", "level")}
        for one in lake.query("families_of_codes", **asked, limit=FAMILIES).arrow().to_pylist():
            members = one["features"][1 : MEMBERS + 1]
            named = [
                (feature, tokens.of(key["codes"], key["mask"], feature)[:2]) for feature in members
            ]
            of_root = tokens.of(key["codes"], key["mask"], one["root"])
            more = one["members"] - 1 - len(members)
            found.append(key | one | {"tokens": of_root, "named": named, "more": more})
    return found


def _told(lake: Lake, mask: str | None, tokens: _Tokens) -> Rows:
    """The features that tell each value best; of a label of two values, which mirror, the first."""
    query = """
        WITH numbered AS (
            SELECT *, dense_rank() OVER (
                PARTITION BY codes, mask, label, subset_by, level, pooling ORDER BY value
            ) AS place
            FROM label_scores WHERE subset = '' AND mask = coalesce($mask, mask)
        ),
        several AS (
            SELECT * FROM numbered QUALIFY place <> 2 OR max(place) OVER (
                PARTITION BY codes, mask, label, subset_by, level, pooling
            ) > 2
        )
        SELECT s.codes, s.mask, s.label, s.value, s.subset_by, s.level, s.pooling, s.feature,
            s.auroc, s.rate_positive, s.rate_negative, s.information_corrected, s.q, s.n_tests,
            s.n_positive, s.n_negative, d.subsets, d.auroc_min, d.auroc_max
        FROM several AS s
        LEFT JOIN label_subsets AS d
            USING (codes, mask, label, value, subset_by, level, pooling, feature)
        WHERE s.q <= 0.05
        QUALIFY row_number() OVER (
            PARTITION BY s.codes, s.mask, s.label, s.value, s.subset_by, s.level, s.pooling
            ORDER BY abs(s.auroc - 0.5) DESC, s.feature
        ) <= $limit
        ORDER BY s.codes, s.mask, s.label, s.subset_by, s.level, s.pooling, s.value,
            abs(s.auroc - 0.5) DESC, s.feature
    """
    rows: Rows = lake.sql(query, mask=mask, limit=FEATURES).arrow().to_pylist()
    return [_shown(row, tokens) for row in rows]


def _shown(row: Mapping[str, Any], tokens: _Tokens) -> dict[str, Any]:
    texts = {name: visible(row[name]) for name in ("label", "value", "subset_by")}
    return {**row, **texts, "tokens": tokens.of(row["codes"], row["mask"], row["feature"])}


def _sets(lake: Lake) -> Rows:
    """For each dictionary and set of tokens, how many features go beyond random directions."""
    query = """
        SELECT dictionary, token_set, n_set, n_tokens, random_score, feature, score,
            count(*) OVER whole AS n_features,
            count(*) FILTER (WHERE abs(score) > random_score) OVER whole AS beyond
        FROM feature_token_sets
        WHERE score IS NOT NULL
        WINDOW whole AS (PARTITION BY dictionary, token_set)
        QUALIFY row_number() OVER (
            PARTITION BY dictionary, token_set ORDER BY abs(score) DESC, feature
        ) <= $most
        ORDER BY dictionary, token_set, abs(score) DESC, feature
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in lake.sql(query, most=SETS).arrow().to_pylist():
        one = found.setdefault((row["dictionary"], row["token_set"]), row | {"first": []})
        if abs(row["score"]) > row["random_score"]:
            one["first"].append(row)
    return [one | {"token_set": visible(one["token_set"])} for one in found.values()]
