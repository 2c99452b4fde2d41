"""hypothesize: which features of some codes may go with a label, tested on unseen groups."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.designs import Design, designs, is_constant_in_groups
from actlake.analytics.hypotheses.findings import Findings, find
from actlake.analytics.hypotheses.groups import split_groups
from actlake.analytics.hypotheses.labels import is_constant_within, numbered
from actlake.analytics.hypotheses.pooling import POOLINGS, Pooled
from actlake.flows.document_labels import Target, document_label, target_of
from actlake.flows.document_pools import document_pool
from actlake.flows.hypothesis_tables import (
    exemplars_table,
    findings_table,
    hypothesis_rows,
    phrases_table,
)
from actlake.flows.progress import say
from actlake.storage.errors import IncompleteError, InputError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

__all__ = ["hypothesize"]

CODE_VERSION = "2"
"""Changes whenever a result's meaning changes."""


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
    """Fill hypotheses and what belongs to them: features that may go with a label.

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
        Finer label over whose values the target is permuted where it varies within groups. What
        the target differs in between groups is permuted over groups all the same.
    mask, pooling
        Rows that count, and max, mean, sum or any of them.
    top
        Features to select by correlation, and as many by separation.
    min_documents
        Documents of train that a feature must fire in.
    draws
        Permutations of the target.
    seed
        Of the split and the permutations, in [0, 2^63).

    InputError for a constant target, one that varies within a unit, fewer groups than parts, and
    where no feature fires often enough; NotFoundError for an unknown label.
    """
    reader = lake.codes(codes)
    if missing := reader.missing():
        raise IncompleteError(
            f"codes {codes} lack {len(missing)} of {len(reader.grid)} shards; "
            "finish encoding them first"
        )
    _check(pooling, top, min_documents, draws, seed)
    corpus = reader.rowset.corpus
    query = "SELECT document, text FROM documents WHERE corpus = $corpus ORDER BY document"
    texts: list[str] = lake.sql(query, corpus=corpus).arrow()["text"].to_pylist()
    aim = target_of(document_label(lake, corpus, target, len(texts)), target, level)
    groups = document_label(lake, corpus, group, len(texts))
    units = None if unit is None else document_label(lake, corpus, unit, len(texts))
    _check_unit(aim, groups, units, group, unit)
    split = split_groups(groups, aim.stratum, seed=seed)
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
        pooled = document_pool(lake, reader, rule, run).finish(pooling)
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
        parts = designs(
            pooled,
            aim.values,
            groups,
            split,
            unit=units,
            features=found.columns["feature"],
            n_tests=found.n_tests,
        )
        names = {"group": group, "unit": unit, "document": ""}
        labels = [{"grouped_by": group, "unit": names[part.permuted]} for part in parts]
        held = [key | of | asdict(part) for part, of in zip(parts, labels, strict=True)]
        rows = hypothesis_rows(found, aim, key | {"mask": mask, "pooling": pooling})
        tables = {
            "hypothesis_phrases": phrases_table(found, key),
            "hypothesis_exemplars": exemplars_table(found, pooled, key),
            "designs": findings_table("designs", held),
        }
        run.hold(f"holdout:{corpus}:{target}")
        look = 1 + run.examine(lambda now: _looks(now, corpus, target))
        tables["hypotheses"] = findings_table("hypotheses", [row | {"look": look} for row in rows])
        run.append(tables, f"{len(rows)} hypotheses on {aim} in {codes}")
    _tell(found, aim, codes, parts[SPLITS.index("holdout")], look)


def _check(pooling: str, top: int, min_documents: int, draws: int, seed: int) -> None:
    if pooling not in POOLINGS:
        raise InputError(f"no pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
    for name, value, least in (
        ("top", top, 1),
        ("min_documents", min_documents, 2),
        ("draws", draws, 19),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; it must be at least 0 and below 2^63")


def _check_unit(
    aim: Target, groups: NDArray[Any], units: NDArray[Any] | None, group: str, unit: str | None
) -> None:
    """Refuses a unit that the target varies within, and tells where the group is the unit."""
    if units is None:
        return
    number, finer = numbered(groups)[0], numbered(units)[0]
    used = np.isfinite(aim.values) & (number >= 0) & (finer >= 0)
    y = aim.values[used]
    if is_constant_within(number[used], y):
        say(f"hypothesize: {aim} is constant in each {group}, so {group} is permuted, not {unit}")
    elif not is_constant_in_groups(finer[used], number[used], y):
        raise InputError(
            f"{aim} varies within {unit}, so it cannot be permuted over it; "
            "leave --unit out to permute documents, or give a finer label"
        )


def _looks(transaction: Transaction, corpus: str, target: str) -> int:
    """How many runs have tested something against the target on this corpus."""
    query = """
        SELECT count(DISTINCT h.run) FROM hypotheses AS h
        JOIN codes AS c USING (codes) JOIN rowsets AS r USING (rowset)
        WHERE h.target = $target AND r.corpus = $corpus
    """
    [(looks,)] = transaction.rows(query, target=target, corpus=corpus)
    return int(str(looks))


def _tell(found: Findings, aim: Target, codes: str, holdout: Design, look: int) -> None:
    held = int((found.columns["q"] <= 0.05).sum())
    able = ""
    if holdout.smallest_effect is not None:
        able = f"; 0.8 power needs {holdout.smallest_effect:.2g} standard deviations"
    elif aim.level and holdout.permuted == "group" and found.n_tests:
        able = "; no effect has power 0.8 with so few groups"
    say(
        f"hypothesize: {aim} in {codes}: {held} of {found.n_tests} hypotheses hold at q <= 0.05 on "
        f"{holdout.documents:,} documents of {holdout.n_groups} groups ({holdout.n_units} "
        f"units){able}"
    )
    if look > 1:
        say(
            f"hypothesize: this holdout was looked at {look} times for {aim.label}; p and q are "
            "those of one look"
        )
