"""What a search for hypotheses found, as rows of the lake's tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from actlake.analytics.hypotheses.findings import Findings
from actlake.analytics.hypotheses.pooling import Pooled
from actlake.flows.document_labels import Target
from actlake.storage.fields import arrow_schema

__all__ = ["exemplars_table", "findings_table", "hypothesis_rows", "phrases_table"]

WORDS = 3
"""Phrases that a statement names."""
EXEMPLARS = 10
"""Documents that are kept for each feature."""


def hypothesis_rows(
    found: Findings, aim: Target, constants: Mapping[str, object]
) -> list[dict[str, Any]]:
    """Rows of ``hypotheses`` but for ``look``; ``constants`` are columns that all have alike."""
    columns = {name: values.tolist() for name, values in found.columns.items()}
    rows = []
    for index, phrases in enumerate(found.words):
        row: dict[str, Any] = {name: values[index] for name, values in columns.items()}
        words = [phrase.phrase for phrase in phrases[:WORDS]]
        rows.append(dict(constants) | row | {"statement": _statement(aim, row, words)})
    return rows


def _statement(aim: Target, row: Mapping[str, Any], words: list[str]) -> str:
    by_separation = row["selected_by"] == "separation"
    more = (row["separation"] if by_separation else row["correlation"]) > 0
    what = f"{aim} is {'more' if more else 'less'} frequent" if aim.level else ""
    what = what or f"{aim} is {'higher' if more else 'lower'}"
    named = ", ".join(f"“{word}”" for word in words)
    said = f", which say {named}" if named else ""
    # NaN, as of too few groups, is on neither side.
    contrary = row["effect"] < 0 if more else row["effect"] > 0
    turned = f"; in the {row['split']} it is the other way round" if contrary else ""
    return f"{what} in documents with feature {row['feature']}{said}{turned}"


def phrases_table(found: Findings, key: Mapping[str, object]) -> pa.Table:
    """Rows of ``hypothesis_phrases``."""
    rows = [
        dict(key)
        | {
            "feature": int(feature),
            "rank": rank,
            "phrase": phrase.phrase,
            "firing": phrase.n_firing,
            "silent": phrase.n_silent,
            "z": phrase.z,
        }
        for feature, phrases in zip(found.columns["feature"], found.words, strict=True)
        for rank, phrase in enumerate(phrases, 1)
    ]
    return findings_table("hypothesis_phrases", rows)


def exemplars_table(found: Findings, pooled: Pooled, key: Mapping[str, object]) -> pa.Table:
    """Rows of ``hypothesis_exemplars``: of equal values the first documents."""
    by_feature = pooled.values[:, found.columns["feature"]].tocsc()
    rows = []
    for place, feature in enumerate(found.columns["feature"].tolist()):
        part = slice(by_feature.indptr[place], by_feature.indptr[place + 1])
        documents, values = by_feature.indices[part], by_feature.data[part]
        strongest = np.lexsort((documents, -values))[:EXEMPLARS]
        rows += [
            dict(key)
            | {
                "feature": feature,
                "rank": rank,
                "document": int(documents[index]),
                "value": float(values[index]),
            }
            for rank, index in enumerate(strongest.tolist(), 1)
        ]
    return findings_table("hypothesis_exemplars", rows)


def findings_table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; NaN becomes NULL where the column allows it."""
    schema = arrow_schema(name)
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.nullable:
            values = [None if value is None or value != value else value for value in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
