"""Which documents of a source become the corpus: a condition on labels, then a sample."""

import heapq
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from actlake.analytics.splitmix import splitmix64
from actlake.flows.source_files import nearest
from actlake.storage.corpora import Document
from actlake.storage.duck import connect
from actlake.storage.errors import CorpusError, InputError, QueryError
from actlake.storage.guard import check_predicate
from actlake.storage.results import TimeLimit

__all__ = ["Selection", "apportion", "select"]

_PIECE_DOCUMENTS = 10_000
LONGEST_SECONDS = 600.0
"""That a condition may take."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen among the documents of a source."""

    kept: NDArray[np.bool_]
    """Of each document, in the order of reading."""
    outside: int
    """Documents that the condition left out."""


def select(
    documents: Iterable[Document],
    *,
    where: str | None = None,
    sample: int | None = None,
    stratify: str | None = None,
    seed: int = 0,
) -> Selection:
    """The documents for which ``where`` holds, at most ``sample`` of them.

    A sample depends on the ids of the documents and ``seed``, not on their order: in each stratum
    those with the smallest hashes. Strata are the values of the label ``stratify`` (a missing
    value is one) and get their share, at least one document each. Memory: the labels.

    Raises QueryError for a condition that is refused or fails, and CorpusError for a label that no
    document has or that holds text in one document and numbers in another.
    """
    hashes, strata = array("Q"), array("Q")
    values: dict[object, int] = {}
    pieces: list[pa.Table] = []
    piece: list[Mapping[str, object]] = []
    names: dict[str, None] = {}
    for document in documents:
        hashes.append(xxhash.xxh3_64_intdigest(document.source_id.encode()))
        names |= dict.fromkeys(document.labels)
        value = None if stratify is None else document.labels.get(stratify)
        strata.append(values.setdefault(value, len(values)))
        if where is not None:
            piece.append(document.labels)
            if len(piece) == _PIECE_DOCUMENTS:
                pieces.append(_columns(piece))
                piece.clear()
    if stratify is not None and hashes and stratify not in names:
        raise CorpusError(f"no document has the label {stratify!r}; {nearest(stratify, names)}")
    kept = np.ones(len(hashes), bool)
    if where is not None:
        kept = _holds(where, [*pieces, _columns(piece)], len(hashes))
    outside = int((~kept).sum())
    if sample is not None:
        ranks = splitmix64(np.array(hashes, np.uint64), seed)
        kept &= _sampled(kept, ranks, np.array(strata, np.int64), list(values), sample)
    return Selection(kept, outside)


def apportion(sizes: Sequence[int], seats: int) -> list[int]:
    """How many of ``seats`` each group gets: at least one, at most its size, else in proportion.

    Each next seat goes to the largest size / (2·seats + 1), as in an election; of equals, to the
    first. Raises InputError for fewer seats than groups.

    Source: Sainte-Laguë (1910), "La représentation proportionnelle et la méthode des moindres
    carrés".
    """
    if seats < len(sizes):
        raise InputError(f"{seats} cannot hold one of each of {len(sizes)}; give at least that")
    given = [1] * len(sizes)
    queue = [(-size / 3, index) for index, size in enumerate(sizes)]
    heapq.heapify(queue)
    # A full group, below 1/2, always comes after one that is not, above 1/2.
    for _ in range(min(seats, sum(sizes)) - len(sizes)):
        _, index = heapq.heappop(queue)
        given[index] += 1
        heapq.heappush(queue, (-sizes[index] / (2 * given[index] + 1), index))
    return given


def _sampled(
    kept: NDArray[np.bool_],
    ranks: NDArray[np.uint64],
    groups: NDArray[np.int64],
    values: Sequence[object],
    sample: int,
) -> NDArray[np.bool_]:
    chosen = np.zeros(len(kept), bool)
    # In the order of the values' text, so that the order of the documents decides nothing.
    present = sorted(np.unique(groups[kept]), key=lambda group: str(values[group]))
    members = [np.flatnonzero(kept & (groups == group)) for group in present]
    try:
        given = apportion([len(indices) for indices in members], sample)
    except InputError as error:
        raise CorpusError(
            f"a sample of {sample} cannot hold a document of each of the {len(members)} strata; "
            f"give at least {len(members)}"
        ) from error
    for indices, count in zip(members, given, strict=True):
        chosen[indices[np.argsort(ranks[indices], kind="stable")[:count]]] = True
    return chosen


def _columns(labels: Sequence[Mapping[str, object]]) -> pa.Table:
    names = dict.fromkeys(name for one in labels for name in one)
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([one.get(name) for one in labels])
        except pa.ArrowException as error:
            raise _mixed(name) from error
    return pa.table(columns)


def _mixed(name: str) -> CorpusError:
    return CorpusError(
        f"the label {name!r} holds values of several kinds, such as text and numbers, which a "
        "condition cannot compare; make them one kind"
    )


def _holds(where: str, pieces: list[pa.Table], documents: int) -> NDArray[np.bool_]:
    """Whether ``where`` holds for each row of the tables, one after the other; NULL is no."""
    names = dict.fromkeys(name for piece in pieces for name in piece.column_names)
    if not names:
        raise CorpusError(f"the condition {where!r} has no labels to look at; give labels first")
    for name in names:
        kinds = [piece.schema.field(name) for piece in pieces if name in piece.column_names]
        try:
            pa.unify_schemas([pa.schema([kind]) for kind in kinds], promote_options="permissive")
        except pa.ArrowException as error:
            raise _mixed(name) from error
    table = pa.concat_tables([p for p in pieces if p.num_rows], promote_options="permissive")
    con = connect(threads=1)
    con.execute("SET GLOBAL enable_external_access = false")
    try:
        con.register("labels", table)
        check_predicate(where, "labels", con=con)
        with TimeLimit(con, LONGEST_SECONDS).step():
            # SQL by definition, and checked to be one condition over the row.
            found = con.execute(f"SELECT coalesce(({where}), false) AS kept FROM labels")  # noqa: S608
            kept: NDArray[np.bool_] = np.asarray(found.fetchnumpy()["kept"], bool)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].rstrip(". ")
        raise QueryError(
            f"the condition {where!r} fails: {reason}; mend it, or the labels that it looks at"
        ) from error
    finally:
        con.close()
    if len(kept) != documents:
        raise CorpusError(
            "some documents have no labels at all, so no condition can choose them; label them all"
        )
    return kept
