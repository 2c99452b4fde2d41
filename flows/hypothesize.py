"""hypothesize: which features of some codes may go with a label, tested on unseen groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.findings import Findings, find
from actlake.analytics.hypotheses.groups import split_groups
from actlake.analytics.hypotheses.labels import numbered
from actlake.analytics.hypotheses.permutation import largest_units, smallest_p
from actlake.analytics.hypotheses.pooling import POOLINGS, DocumentPool, Pooled
from actlake.analytics.hypotheses.power import correlation_within, detectable_effect
from actlake.analytics.statistic import merge_in_order
from actlake.flows.document_labels import Target, document_label, target_of
from actlake.flows.progress import progress, say
from actlake.storage.codes import Codes
from actlake.storage.errors import IncompleteError, InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.transaction import Transaction

__all__ = ["hypothesize"]

CODE_VERSION = "1"
"""Changes whenever a result's meaning changes."""

WORDS = 3
"""Phrases that a statement names."""


def hypothesize(
    lake: Lake,
    *,
    codes: str,
    target: str,
    group: str,
    unit: str | None = None,
    level: str | None = None,
    mask: str = "no_special",
    pooling: str = "max",
    top: int = 20,
    min_documents: int = 10,
    draws: int = 9999,
    seed: int = 0,
) -> None:
    """Fill hypotheses, hypothesis_phrases and designs: features that may go with a label.

    Features are pooled over each document. Whole groups fall into train, where features are
    selected and put into words, validation, where those that do not hold are dropped, and
    holdout, where the rest are tested once (``analytics.hypotheses.findings``). Every feature that
    was selected is kept, found or not. What an earlier search found stays: how often the holdout
    of the label has been looked at is counted in ``look``.

    target, level
        Label of documents: a number, or one class of it against all others. A label of two
        classes needs no level.
    group
        Label whose values stay together: what documents that resemble each other share.
    unit
        Finer label over whose values the target is permuted where it varies within groups.
    mask, pooling
        Rows that count, and max, mean, sum or any of them.
    top
        Features to select by correlation, and as many by separation.
    min_documents
        Documents of train that a feature must fire in.
    draws
        Permutations of the target.

    InputError for a constant target, fewer groups than parts, and where no feature fires often
    enough; NotFoundError for an unknown label.
    """
    reader = lake.codes(codes)
    if missing := reader.missing():
        raise IncompleteError(
            f"codes {codes} lack {len(missing)} of {len(reader.grid)} shards; "
            "finish encoding them first"
        )
    _check(pooling, top, min_documents, draws)
    corpus = reader.rowset.corpus
    query = "SELECT document, text FROM documents WHERE corpus = $corpus ORDER BY document"
    texts: list[str] = lake.sql(query, corpus=corpus).arrow()["text"].to_pylist()
    aim = target_of(document_label(lake, corpus, target, len(texts)), target, level)
    groups = document_label(lake, corpus, group, len(texts))
    units = None if unit is None else document_label(lake, corpus, unit, len(texts))
    split = split_groups(groups, aim.classes, seed=seed)
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": codes,
        "target": target,
        "level": aim.level,
        "group": group,
        "unit": unit,
        "mask": mask,
        "pooling": pooling,
        "top": top,
        "min_documents": min_documents,
        "draws": draws,
        "seed": seed,
    }
    inputs = {
        "codes": reader.fingerprint,
        "mask": rule.fingerprint,
        "corpus": lake.corpus_fingerprint(corpus),
        "version": CODE_VERSION,
    }
    with lake.run("hypothesize", parameters, inputs) as run:
        if run.done:
            say(f"hypothesize: {aim} in {codes} found complete")
            return
        pooled = _pool(lake, reader, rule, len(texts)).finish(pooling)
        if reader.rowset.kind == "document":  # one row each, so words are their lengths
            words = np.array([len(text.split()) for text in texts])
            pooled = Pooled(pooled.values, np.where(pooled.rows > 0, words, 0))
        found = find(
            pooled,
            aim.values,
            groups,
            split,
            unit=units,
            texts=texts,
            top=top,
            min_documents=min_documents,
            draws=draws,
            seed=seed,
        )
        key = {"run": run.run, "target": target, "level": aim.level, "codes": codes}
        designs = _designs(found, pooled, aim, groups, split, units)
        rows = _hypotheses(found, aim, key | {"mask": mask, "pooling": pooling})
        labels = {"grouped_by": group, "unit": unit or group}
        tables = {
            "hypothesis_phrases": _phrases(found, key),
            "designs": _table("designs", [key | labels | design for design in designs]),
        }
        run.hold(f"holdout:{corpus}:{target}")
        look = 1 + run.examine(lambda now: _looks(now, corpus, target))
        tables["hypotheses"] = _table("hypotheses", [row | {"look": look} for row in rows])
        run.append(tables, f"{len(rows)} hypotheses on {aim} in {codes}")
    _tell(found, aim, codes, designs[SPLITS.index("holdout")], look)


def _check(pooling: str, top: int, min_documents: int, draws: int) -> None:
    if pooling not in POOLINGS:
        raise InputError(f"no pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
    for name, value, least in (
        ("top", top, 1),
        ("min_documents", min_documents, 2),
        ("draws", draws, 19),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


def _pool(lake: Lake, codes: Codes, mask: Mask, documents: int) -> DocumentPool:
    grid, rowset = codes.grid, codes.rowset
    with progress(f"pool {codes.name} over documents", rowset.rows) as advance:

        def state(shard: int) -> DocumentPool:
            start, stop = grid.span(shard)
            document = rowset.column("document", start, stop)
            kept = lake.mask_rows(mask, rowset, start, stop)
            advance(stop - start)
            return DocumentPool.of(codes.shard(shard), document, kept, documents=documents)

        return merge_in_order(state(shard) for shard in range(len(grid)))


def _looks(transaction: Transaction, corpus: str, target: str) -> int:
    """How many runs have tested something against the target on this corpus."""
    query = """
        SELECT count(DISTINCT h.run) FROM hypotheses AS h
        JOIN codes AS c USING (codes) JOIN rowsets AS r USING (rowset)
        WHERE h.target = $target AND r.corpus = $corpus
    """
    [(looks,)] = transaction.rows(query, target=target, corpus=corpus)
    return int(str(looks))


def _hypotheses(
    found: Findings, aim: Target, constants: Mapping[str, object]
) -> list[dict[str, Any]]:
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
    return f"{what} in documents with feature {row['feature']}" + (
        f", which say {named}" if named else ""
    )


def _phrases(found: Findings, key: Mapping[str, object]) -> pa.Table:
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
    return _table("hypothesis_phrases", rows)


def _designs(
    found: Findings,
    pooled: Pooled,
    aim: Target,
    groups: NDArray[Any],
    split: NDArray[np.int8],
    units: NDArray[Any] | None,
) -> list[dict[str, Any]]:
    """What each part of the split holds, and what could be found in it."""
    number = numbered(groups)[0]
    finer = np.arange(len(number)) if units is None else numbered(units)[0]
    used = np.isfinite(aim.values) & (pooled.rows > 0) & (number >= 0) & (finer >= 0)
    rows = []
    for part, name in enumerate(SPLITS):
        here = np.flatnonzero(used & (split == part))
        permuted = largest_units(aim.values[here], number[here], finer[here])
        sizes = np.bincount(permuted.unit)
        chosen = pooled.values[here][:, found.columns["feature"]].tocsr()
        alike = correlation_within(chosen, permuted.unit)
        within = float(np.nanmedian(alike)) if np.isfinite(alike).any() else 0.0
        of_unit = aim.values[here][np.unique(permuted.unit, return_index=True)[1]]
        share = float(of_unit.mean()) if aim.level else 0.5
        smallest = None
        if len(sizes) > 2 and 0 < share < 1:
            found_effect = detectable_effect(
                groups=len(sizes),
                documents_per_group=float(sizes.mean()),
                correlation_within=max(within, 0.0),
                n_tests=max(found.n_tests, 1),
                share=share,
            )
            smallest = found_effect if np.isfinite(found_effect) else None
        rows.append(
            {
                "split": name,
                "documents": len(here),
                "n_groups": len(np.unique(number[here])),
                "n_units": len(sizes),
                "smallest_p": smallest_p(aim.values[here], permuted),
                "smallest_effect": smallest,
                "intraclass": within,
            }
        )
    return rows


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; NaN becomes NULL where the column allows it."""
    schema = arrow_schema(name)
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.nullable:
            values = [None if value is None or value != value else value for value in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _tell(found: Findings, aim: Target, codes: str, holdout: Mapping[str, Any], look: int) -> None:
    q = found.columns["q"]
    held = int((q <= 0.05).sum())
    effect = holdout["smallest_effect"]
    able = (
        "; no effect has power 0.8 with so few units"
        if effect is None
        else f"; 0.8 power needs {effect:.2g} standard deviations"
    )
    say(
        f"hypothesize: {aim} in {codes}: {held} of {found.n_tests} hypotheses hold at q <= 0.05 on "
        f"{holdout['documents']:,} documents of {holdout['n_groups']} groups ({holdout['n_units']} "
        f"units){able}"
    )
    if look > 1:
        say(
            f"hypothesize: this holdout was looked at {look} times for {aim.label}; p and q are "
            "those of one look"
        )
