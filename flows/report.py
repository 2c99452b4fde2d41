"""One HTML file that shows a lake whole: what it holds, how well, and what was found in it."""

from typing import Any

from actlake.flows.cards import sections
from actlake.flows.figures import short, svg_text
from actlake.flows.page import data_uri, template
from actlake.flows.plots import plot
from actlake.flows.report_records import records
from actlake.flows.summaries import FLAGS, scores
from actlake.flows.visible import visible, visible_token
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["report"]

RUNS, HYPOTHESES, EXEMPLARS, MATCHES = 40, 6, 3, 8
TEXT_CHARACTERS = 260


def report(
    lake: Lake,
    *,
    snapshot: int,
    committed: str,
    features: int = 12,
    mask: str | None = None,
) -> str:
    """The report, as HTML text that needs no network and runs no script.

    snapshot, committed
        Which snapshot ``lake`` stands at, and when it was committed: for readers, to trace numbers.
    features
        Cards of features, over all codes together.
    mask
        Of the statistics shown; by default each codes' newest.

    What the lake does not hold yet is named with the command that makes it.
    """
    pictures = {
        kind: _picture(lake, kind, mask)
        for kind in ("front", "density", "pairs", "labels", "matches", "layers", "hypotheses")
    }
    try:
        cards = sections(lake, features, mask)
    except InputError:
        cards = []
    return template("report.html").render(
        lake_name=visible(lake.root.name),
        lake_id=lake.settings.lake,
        snapshot=snapshot,
        committed=committed,
        sizes=_sizes(lake),
        coverage=_coverage(lake),
        lineage=_lineage(lake),
        scores=scores(lake, mask=mask),
        pictures=pictures,
        records=records(lake, mask),
        flag_names=[flag.removeprefix("is_").replace("_", " ") for flag in FLAGS],
        comparisons=_comparisons(lake),
        matched=_matched(lake),
        designs=_designs(lake),
        hypotheses=_hypotheses(lake),
        sections=cards,
    )


def _picture(lake: Lake, kind: str, mask: str | None) -> dict[str, str]:
    """The plot as an address that carries it, or why there is none."""
    try:
        figure = plot(lake, kind, mask=mask)
    except InputError as error:
        return {"missing": visible(str(error))}
    return {"uri": data_uri(svg_text(figure, kind))}


def _sizes(lake: Lake) -> list[tuple[str, str]]:
    """How much of everything there is."""
    row = (
        lake.sql(
            """
            SELECT
                (SELECT count(*) FROM models) AS models,
                (SELECT count(*) FROM corpora) AS corpora,
                (SELECT count(*) FROM documents) AS documents,
                (SELECT coalesce(sum(rows), 0) FROM rowsets) AS rows,
                (SELECT count(*) FROM tensors) AS tensors,
                (SELECT count(*) FROM dictionaries) AS dictionaries,
                (SELECT coalesce(sum(n_features), 0) FROM dictionaries) AS features,
                (SELECT coalesce(sum(nnz), 0) FROM codes) AS "stored feature values",
                (SELECT coalesce(sum(bytes), 0) FROM shards) AS bytes,
                (SELECT count(*) FROM runs WHERE state = 'completed') AS "completed runs"
            """
        )
        .arrow()
        .to_pylist()[0]
    )
    row["size of shards"] = f"{row.pop('bytes') / 2**20:,.0f} MiB"
    return [
        (name, value if isinstance(value, str) else f"{value:,}") for name, value in row.items()
    ]


def _coverage(lake: Lake) -> list[dict[str, Any]]:
    query = """
        SELECT c.kind, c.name, coalesce(t.model, k.dictionary) AS made_of, c.rowset,
            c.rows_committed, c.rows_planned, c.shards_committed, c.shards_planned, c.bytes,
            c.complete
        FROM shard_coverage AS c
        LEFT JOIN tensors AS t ON c.kind = 'tensor' AND t.tensor = c.name
        LEFT JOIN codes AS k ON c.kind = 'codes' AND k.codes = c.name
        ORDER BY c.kind DESC, c.name
    """
    rows: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return rows


def _lineage(lake: Lake) -> list[dict[str, Any]]:
    """The runs behind the lake, newest first: what each did, from which snapshot to which.

    Those of ``maintain`` wrote no fact, and only the last few are shown.
    """
    query = """
        SELECT run, flow, state, started, seconds, snapshot_before, snapshot_after, prefect_run
        FROM run_log
        QUALIFY row_number() OVER (PARTITION BY flow = 'maintain' ORDER BY run DESC)
            <= if(flow = 'maintain', 3, $limit)
        ORDER BY run DESC
    """
    rows: list[dict[str, Any]] = lake.sql(query, limit=RUNS).arrow().to_pylist()
    return rows


def _comparisons(lake: Lake) -> list[dict[str, Any]]:
    query = """
        SELECT codes_a, codes_b, mask, method, units, documents, text_aligned, permutations,
            tested_a, tested_b, mutual
        FROM comparisons ORDER BY codes_a, codes_b, mask, method
    """
    rows: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return rows


def _matched(lake: Lake) -> list[dict[str, Any]]:
    """The surest mutual matches of each comparison, with a context of both sides."""
    query = """
        SELECT codes_a, feature_a, codes_b, feature_b, mask, score, margin, q
        FROM feature_matches
        WHERE is_mutual AND best_of = 'a' AND method = 'activation' AND q <= 0.05
        QUALIFY row_number() OVER (
            PARTITION BY codes_a, codes_b, mask ORDER BY score DESC, feature_a
        ) <= $limit
        ORDER BY codes_a, codes_b, mask, score DESC
    """
    rows: list[dict[str, Any]] = lake.sql(query, limit=MATCHES).arrow().to_pylist()
    for row in rows:
        for side in ("a", "b"):
            row[f"tokens_{side}"] = _tokens(
                lake, row[f"codes_{side}"], row[f"feature_{side}"], row["mask"]
            )
    return rows


def _tokens(lake: Lake, codes: str, feature: int, mask: str) -> list[str]:
    query = """
        SELECT v.text FROM feature_tokens AS t
        JOIN codes AS c USING (codes) JOIN rowsets AS r USING (rowset)
        JOIN vocabulary AS v ON v.tokenizer = r.tokenizer AND v.token_id = t.token_id
        WHERE t.codes = $codes AND t.feature = $feature AND t.kind = 'count' AND t.rank <= 5
        QUALIFY t.mask = first_value(t.mask) OVER (ORDER BY t.mask <> $mask, t.mask)
        ORDER BY t.rank
    """
    found = lake.sql(query, codes=codes, feature=feature, mask=mask).rows()
    return [visible_token(str(text)) for (text,) in found]


def _designs(lake: Lake) -> list[dict[str, Any]]:
    query = """
        SELECT d.target, d.level, d.codes, d.grouped_by, d.unit, d.documents, d.n_groups, d.n_units,
            d.smallest_p, d.smallest_effect
        FROM designs AS d WHERE d.split = 'holdout'
        QUALIFY d.run = max(d.run) OVER (PARTITION BY d.target, d.level, d.codes)
        ORDER BY d.target, d.level, d.codes
    """
    rows: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    for row in rows:
        row["level"] = visible(row["level"])
    return rows


def _hypotheses(lake: Lake) -> list[dict[str, Any]]:
    """The surest hypotheses of each target, with documents that show them."""
    query = """
        SELECT run, target, level, codes, feature, statement, split, effect, ci_low, ci_high, p,
            p_permutation, q, n, n_groups, n_tests, look
        FROM hypotheses
        QUALIFY run = max(run) OVER (PARTITION BY target, level, codes)
            AND row_number() OVER (
                PARTITION BY target, level, codes, run ORDER BY q NULLS LAST, p NULLS LAST, feature
            ) <= $limit
        ORDER BY target, level, codes, q NULLS LAST, p NULLS LAST, feature
    """
    rows: list[dict[str, Any]] = lake.sql(query, limit=HYPOTHESES).arrow().to_pylist()
    for row in rows:
        key = {"run": row["run"], "feature": row["feature"]}
        found = lake.query("exemplars_of_hypothesis", **key, limit=EXEMPLARS).arrow().to_pylist()
        row["exemplars"] = [
            {
                "source": visible(one["source_id"]),
                "label": visible(one["label"] or "–"),
                "value": one["value"],
                "text": visible(short(one["text"], TEXT_CHARACTERS)),
            }
            for one in found
        ]
        row["statement"] = visible(row["statement"])
        row["level"] = visible(row["level"])
    return rows
