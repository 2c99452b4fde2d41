"""summarize_labels: how each feature of some codes goes with each value of a label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.features.clustered_rates import RateSums, rate_difference
from actlake.analytics.features.fisher import fisher_exact
from actlake.analytics.features.information import chance_information
from actlake.analytics.features.label_scores import scores_of_layers
from actlake.analytics.hypotheses.correction import benjamini_hochberg
from actlake.analytics.hypotheses.pooling import POOLINGS
from actlake.flows.codes_blocks import LEVELS, documents_of, require_rows
from actlake.flows.codes_sets import inputs_of, members_of_name, refuse_others
from actlake.flows.document_labels import classes_of, document_label, is_of_spans
from actlake.flows.feature_table import feature_table
from actlake.flows.label_units import Range, Units, documents_as_units, rows_as_units
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.span_labels import clustered, layers_of_rows, span_label
from actlake.storage.codes import Codes
from actlake.storage.errors import InputError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

__all__ = ["summarize_labels"]

CODE_VERSION = "2"
"""Changes whenever a result's meaning changes."""

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Classes:
    """Which value of a label each unit has."""

    names: list[str]
    documents: NDArray[np.bool_]
    """Documents that have the label; their units are compared."""
    of_document: NDArray[np.int64] | None
    """The class of each document, -1 for none; None where spans have the label."""
    layers: list[NDArray[Any]]
    """The class of each unit, shape (units,), -1 for none; more than one where a unit has several
    classes, each of which is in one layer."""


def summarize_labels(
    lake: Lake,
    *,
    codes: str,
    label: str,
    subset_by: str | None = None,
    mask: str = "no_special",
    level: str | None = None,
    pooling: str = "max",
    min_fires: int = 5,
) -> None:
    """Fill feature_labels: each feature against each value of a label of documents or of spans.

    ``codes`` may be a set, which was summarized under the mask: its codes are compared as one, and
    each of their corpora has the label. What is told of it goes when the set is summarized with
    other codes, or in another order.
    A value stands against all others; documents that lack the label are left out. A row has each
    value of which a span reaches one of its characters; of a label of spans the rows of all
    documents that were looked at for it count, also where none was found. What an earlier
    call left of the same codes, mask, label, level, pooling and subsets is replaced. These are
    many tests on the documents that suggested them, so a small q is a place to look:
    ``hypothesize`` tests on documents that were held out, and permutes what is alike within them.

    subset_by
        Another label: the same again within the documents of each of its values, which tells what
        holds in every subset from what holds in one (``sql/views/label_subsets.sql``).
    level, pooling
        document: values are pooled over the rows of each, by max, mean, sum or any; p is of
        Mann-Whitney, p_fisher of firing or not. token: units are rows, and p compares shares of
        firing rows with documents as clusters; p_fisher and what chance gives of information take
        units for independent, so there is neither. By default document, and token for a label of
        spans, which has no other.
    min_fires
        Units with the label on which a feature must fire to be compared.

    Codes of any size: 0.6 to 1.2 GB for 42 million values, and what each row, or document, takes by
    itself. What pools or rows hold beyond 5 million values is read once for each 5 million, and 32
    times at most.

    NotFoundError for an unknown label; InputError for a label of one value (of spans: of none) or
    more than 50, where no row is under the mask, and where nothing fires often enough.
    """
    members = members_of_name(lake, codes, mask)
    of_spans = is_of_spans(lake, members[0].rowset.corpus, label)
    if level is None:
        level = "token" if of_spans else "document"
    if level not in LEVELS:
        raise InputError(f"no level {level!r}; choose one of {', '.join(LEVELS)}")
    if level == "document" and pooling not in POOLINGS:
        raise InputError(f"no pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
    if min_fires < 1:
        raise InputError(f"min_fires is {min_fires}; it must be at least 1")
    if subset_by == label:
        raise InputError(f"{label} cannot cut itself into subsets; give another label")
    if of_spans and level == "token":
        spans = span_label(lake, members, label)
    else:
        spans = None
        of_document, names = _classes_of_documents(lake, members, label)
    cut = None if subset_by is None else _classes_of_documents(lake, members, subset_by)
    rule = lake.mask(mask)
    pooling = pooling if level == "document" else ""
    same = {
        "codes": codes,
        "mask": mask,
        "label": label,
        "subset_by": subset_by or "",
        "level": level,
        "pooling": pooling,
    }
    parameters: dict[str, Json] = {**same, "min_fires": min_fires}
    inputs = inputs_of(lake, members, codes, mask)
    corpora = [one.rowset.corpus for one in members]
    called = ["corpus"] if members[0].name == codes else [f"corpus {one}" for one in corpora]
    inputs |= dict(zip(called, map(lake.corpus_fingerprint, corpora), strict=True))
    inputs |= {"mask": rule.fingerprint, "version": CODE_VERSION}
    inputs["replaces"] = replaced(lake, "feature_labels", same, parameters, inputs)
    for one in members:
        require_rows(lake, one, rule)
    with lake.run("summarize_labels", parameters, inputs) as run:
        if run.done:
            say(f"summarize_labels: {label} in {codes} under {mask} found complete")
            return
        run.hold(":".join(("labels", *same.values())))
        units = (
            documents_as_units(lake, members, rule, run, pooling)
            if level == "document"
            else rows_as_units(lake, members, rule, of_spans=spans is not None)
        )
        if spans is None:
            layers: list[NDArray[Any]] = [of_document[units.document]]
            classes = Classes(names, of_document >= 0, of_document, layers)
        else:
            of_rows = layers_of_rows(lake, members, rule, spans)
            classes = Classes(spans.classes, spans.looked_at, None, [*of_rows])
        labelled = classes.documents[units.document]
        parts: dict[str, list[Columns]] = {}
        compared = 0
        with progress(f"compare {label} in {codes}", members[0].n_features, "features") as advance:
            for some in units.ranges():
                features = _firing(some.values, labelled, min_fires)
                compared += len(features)
                for subset, columns in _parts(units, some, features, classes, cut):
                    parts.setdefault(subset, []).append(columns)
                advance(some.values.shape[1])
                del some  # before the next is read
        if not compared:
            raise InputError(
                f"no feature of {codes} fires on {min_fires} of {int(labelled.sum()):,} units that "
                f"have the label {label}; give a smaller --min-fires"
            )
        if not parts:
            raise InputError(
                f"all units of {codes} under {mask} have one value of {label}, so nothing can be "
                "told from it; give another label or mask"
            )
        key = {**same, "run": run.run}
        tables = [  # whose columns go as their rows come
            feature_table("feature_labels", _corrected(parts.pop(name)), {**key, "subset": name})
            for name in [*parts]
        ]

        def replace(transaction: Transaction) -> None:
            refuse_others(transaction, codes, mask, members)
            deletion(transaction, "feature_labels", same)

        what = f"{label} in {codes} under {mask}"
        run.append({"feature_labels": pa.concat_tables(tables)}, what, check=replace)
    whole = tables[0]
    q = whole["q"].fill_null(1.0).to_numpy()
    say(
        f"summarize_labels: {label} in {codes} under {mask}: {compared:,} features, "
        f"{len(classes.names)} values, "
        f"{int((q <= 0.05).sum()):,} of {len(q):,} at q <= 0.05"
    )


def _classes_of_documents(
    lake: Lake, members: Sequence[Codes], label: str
) -> tuple[NDArray[np.int64], list[str]]:
    """As ``classes_of``, of the documents of all corpora, one after the other."""
    values = [
        document_label(lake, one.rowset.corpus, label, documents_of(lake, one)) for one in members
    ]
    return classes_of(np.concatenate(values), label)


def _firing(
    values: scipy.sparse.csr_array, labelled: NDArray[np.bool_], least: int
) -> NDArray[np.int64]:
    """Features that fire on ``least`` units that have the label."""
    of_unit = np.repeat(labelled, np.diff(values.indptr))
    return np.flatnonzero(np.bincount(values.indices[of_unit], minlength=values.shape[1]) >= least)


def _part(
    matrix: scipy.sparse.csr_array, rows: NDArray[np.int64] | None, columns: NDArray[np.int64]
) -> scipy.sparse.csr_array:
    """Some rows, or all, and columns, each ascending; no copy of a whole matrix."""
    if rows is not None and len(rows) < matrix.shape[0]:
        matrix = matrix[rows]
    return matrix if len(columns) == matrix.shape[1] else matrix[:, columns]


def _parts(
    units: Units,
    some: Range,
    features: NDArray[np.int64],
    classes: Classes,
    cut: tuple[NDArray[np.int64], list[str]] | None,
) -> Iterator[tuple[str, Columns]]:
    """What is told of some features by all documents, then by each subset, shape (features,
    classes) each; without what has one value there."""
    if not len(features):
        return
    everything = np.zeros(len(classes.documents), np.int64)
    numbers, names = cut if cut is not None else (everything, [])
    for subset, number in [("", everything), *((name, numbers) for name in names)]:
        wanted = 0 if not subset else names.index(subset)
        inside = (number == wanted) & classes.documents
        used = np.flatnonzero(inside[units.document])
        layers = [layer[used] for layer in classes.layers]
        there = [_varying(layer, len(classes.names)) for layer in layers]
        here = np.concatenate(there)
        if not len(here):
            continue
        values = _part(some.values, used, features)
        found, levels = scores_of_layers(values, layers, there)
        shape = (len(features), len(here))
        if not units.are_documents:
            if some.fires is None or classes.of_document is None:
                pairs = zip(layers, there, strict=True)
                has = [layer == one for layer, several in pairs for one in several]
                found["p"] = clustered(values, units.document[used], has)
            else:
                of_documents = classes.of_document, inside, here.tolist()
                found["p"] = _clustered(units, _part(some.fires, None, features), *of_documents)
            # Rows of one document are no independent units, nor can one be dealt without the other.
            found["p_fisher"] = found["information_by_chance"] = np.full(shape, np.nan)
        else:
            positive, fires = found["n_positive"][0], len(used) - levels[:, :1]
            found["p_fisher"] = fisher_exact(found["fires_positive"], fires, positive, len(used))
            found["information_by_chance"] = chance_information(levels, positive)
        found["feature"] = np.broadcast_to(some.start + features[:, None], shape)
        found["value"] = np.broadcast_to(np.array(classes.names, object)[here], shape)
        yield subset, found


def _corrected(parts: Sequence[Columns]) -> Columns:
    """Columns of feature_labels, class by class, of all ranges together."""
    columns = {name: np.concatenate([one[name] for one in parts]).T.ravel() for name in parts[0]}
    tested = int(np.isfinite(columns["p"]).sum())
    columns["q"] = benjamini_hochberg(columns["p"])
    columns["q_fisher"] = benjamini_hochberg(columns["p_fisher"])
    columns["n_tests"] = np.full(columns["p"].shape, tested)
    return columns


def _varying(layer: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """The classes that some units have and others have not."""
    count = np.bincount(layer[layer >= 0], minlength=classes)
    return np.flatnonzero((count > 0) & (count < len(layer)))


def _clustered(
    units: Units,
    fires: scipy.sparse.csr_array,
    of_document: NDArray[np.int64],
    inside: NDArray[np.bool_],
    classes: list[int],
) -> NDArray[np.float64]:
    """p of the difference of firing shares, documents being the clusters; (features, classes)."""
    used = inside & (units.rows > 0)

    def sums(chosen: NDArray[np.bool_]) -> RateSums:
        documents = np.flatnonzero(used & chosen)
        return RateSums.of(fires[documents], units.rows[documents])

    p = np.empty((fires.shape[1], len(classes)))
    of_all = sums(used)
    for column, one in enumerate(classes):
        having = sums(of_document == one)
        p[:, column] = rate_difference(of_all.without(having), having)[2]
    return p
