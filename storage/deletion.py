"""Deleting what has a name, together with what was made of it.

Only rows go: the files that they named stay, for the snapshots from before, until ``gc``. Runs
whose work is gone count as undone, so that the same work can be done again, under a new id.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from actlake.storage.errors import BusyError, InputError, NotFoundError
from actlake.storage.fields import TABLES
from actlake.storage.masks import BUILT_IN
from actlake.storage.names import TABLE_OF
from actlake.storage.retention import live_runs
from actlake.storage.run import Run
from actlake.storage.store import Store
from actlake.storage.transaction import Transaction

__all__ = [
    "Deletion",
    "Thing",
    "delete",
    "plan_deletion",
    "refuse_dependants",
    "undo_runs",
]

Rows = Callable[..., Sequence[tuple[object, ...]]]
"""Asks the lake: ``rows(query, **parameters)``."""

SHOWN = 5
"""Names that a sentence lists at most."""
WRITTEN = {table for table, fields in TABLES.items() if "run" in [one.name for one in fields]}
"""Tables whose rows name the run that wrote them."""

MADE_OF: dict[str, dict[str, str]] = {
    "model": {"tensor": "model"},
    "corpus": {"rowset": "corpus"},
    "rowset": {"rowset": "parent", "tensor": "rowset", "codes": "rowset"},
    "tensor": {"dictionary": "tensor", "codes": "tensor"},
    "dictionary": {"codes": "dictionary"},
    # The rows that it learned from, and those that it chose.
    "mask": {"dictionary": "(config ->> '$.mask')", "rowset": "mask"},
    "codes": {},
}
"""What is made of a thing of some kind: the kind of what was made, and what in its row names it."""

PARTS: dict[str, dict[str, str]] = {
    "corpus": {"documents": "corpus", "labels": "corpus"},
    "rowset": {"tokens": "rowset"},
    "dictionary": {
        "training_logs": "dictionary",
        "training_shards": "dictionary",
        "evaluations": "dictionary",
        "features": "dictionary",
        "feature_neighbours": "dictionary",
        "feature_logits": "dictionary",
        "feature_token_sets": "dictionary",
    },
    "codes": {"postings": "codes"},
}
"""Rows that a thing consists of, beside its receipts: tables, and the column that names it."""

_OF_CODES = (
    "partials feature_statistics feature_profiles feature_histograms feature_positions "
    "feature_examples feature_tokens feature_pairs feature_families feature_labels "
    "hypothesis_phrases hypothesis_exemplars designs hypotheses"
)
_OF_MASKED_HYPOTHESES = "hypothesis_phrases hypothesis_exemplars designs"
_OF_PAIRS = "comparisons feature_matches feature_changes"
_OF_MASK = (
    "partials feature_statistics feature_profiles feature_histograms feature_positions "
    "feature_examples feature_tokens feature_pairs feature_families feature_labels "
    "feature_changes evaluations comparisons feature_matches similarities hypotheses codes_sets"
)
_OF_SET = "codes IN (SELECT codes FROM codes_sets AS s WHERE s.member IN (SELECT unnest($names)))"
_BOTH_CODES = "codes_a IN (SELECT unnest($names)) OR codes_b IN (SELECT unnest($names))"
_BOTH_TENSORS = "tensor_a IN (SELECT unnest($names)) OR tensor_b IN (SELECT unnest($names))"
_HYPOTHESES = "run IN (SELECT run FROM hypotheses AS h WHERE h.mask IN (SELECT unnest($names)))"

FOUND: dict[str, dict[str, str]] = {
    "tensor": {
        "evaluations": "tensor IN (SELECT unnest($names))",
        "similarities": _BOTH_TENSORS,
    },
    "codes": {
        **dict.fromkeys(_OF_CODES.split(), f"codes IN (SELECT unnest($names)) OR {_OF_SET}"),
        **dict.fromkeys(_OF_PAIRS.split(), _BOTH_CODES),
        "codes_sets": _OF_SET,  # after what is found by it
    },
    "mask": {
        # Before hypotheses, by which they are found.
        **dict.fromkeys(_OF_MASKED_HYPOTHESES.split(), _HYPOTHESES),
        **dict.fromkeys(_OF_MASK.split(), "mask IN (SELECT unnest($names))"),
    },
}
"""What was computed about things of a kind: tables, and which of their rows."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something with a name, and what it holds."""

    kind: str
    name: str
    id: str | None
    """Of its arrays; None if it has none."""
    fingerprint: str
    rows: int
    bytes: int
    """Of its files; of a corpus, of its texts."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What goes with a thing."""

    things: tuple[Thing, ...]
    """The thing itself, then all that was made of it."""
    found: Mapping[str, int]
    """Rows of each table that were computed about them."""

    def dependants(self) -> str:
        """What goes beside the thing itself, in words; empty if nothing does."""
        kinds = [one.kind for one in self.things[1:]]
        named = [
            f"{kind} {one.name}" for kind in TABLE_OF for one in self.things[1:] if one.kind == kind
        ]
        more = len(named) - 5
        shown = [*named[:5], *([f"{more} more"] if more > 0 else [])] if kinds else []
        return ", ".join([*shown, *(f"{n:,} rows of {table}" for table, n in self.found.items())])


def plan_deletion(rows: Rows, store: Store, kind: str, name: str) -> Deletion:
    """The thing and all that was made of it; NotFoundError if there is none of that name.

    InputError for a kind that has no names, and for a mask that every lake has.
    """
    if kind not in TABLE_OF:
        raise InputError(f"nothing of the kind {kind!r} can be deleted; give {', '.join(TABLE_OF)}")
    if kind == "mask" and name in BUILT_IN:
        raise InputError(f"the mask {name} is part of every lake, so it stays; give one of yours")
    if not _names(rows, kind, TABLE_OF[kind], kind, [name]):
        raise NotFoundError(f"no {kind} {name!r} in this lake; see `actlake ls {TABLE_OF[kind]}`")
    doomed: dict[str, list[str]] = {kind: [name]}
    waiting = [(kind, name)]
    while waiting:
        of, one = waiting.pop()
        for child, column in MADE_OF[of].items():
            for made in _names(rows, child, TABLE_OF[child], column, [one]):
                if made not in doomed.setdefault(child, []):
                    doomed[child].append(made)
                    waiting.append((child, made))
    things = [
        thing for of, names in doomed.items() for thing in _things(rows, store, of, sorted(names))
    ]
    things.sort(key=lambda one: (one.kind, one.name) != (kind, name))
    found: dict[str, int] = {}
    for of, names in doomed.items():
        for table, condition in FOUND.get(of, {}).items():
            if of == "tensor" and table == "evaluations":
                # Those of a dictionary that goes too are a part of it.
                condition += " AND dictionary NOT IN (SELECT unnest($gone))"
            query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 ours
            gone = {"gone": doomed.get("dictionary", [""])} if "$gone" in condition else {}
            [(count,)] = rows(query, names=names, **gone)
            if count:
                found[table] = found.get(table, 0) + int(str(count))
    return Deletion(tuple(things), found)


def delete(run: Run, kind: str, name: str, *, cascade: bool) -> Deletion:
    """The thing is gone in one commit, and with ``cascade`` all that was made of it; what went.

    InputError if something was made of it, without ``cascade``; BusyError while another run is at
    work, whose results may be made of it.
    """
    held = run.examine(lambda now: plan_deletion(now.rows, run.store, kind, name))
    run.hold(*(f"{one.kind}:{one.name}" for one in held.things))

    def change(transaction: Transaction) -> Deletion:
        for other, flow, _ in live_runs(transaction, run.claims, but=run.run):
            raise BusyError(
                f"run {other} ({flow}) is at work and may use what would be deleted; wait for it, "
                "or end it, then delete again"
            )
        deletion = plan_deletion(transaction.rows, run.store, kind, name)
        if {(one.kind, one.name) for one in deletion.things} != {
            (one.kind, one.name) for one in held.things
        }:
            raise BusyError(f"somebody has just changed what is made of {kind} {name}; try again")
        refuse_dependants(deletion, cascade=cascade)
        _delete(transaction, deletion)
        return deletion

    deletion = run.commit(change, f"deleted {kind} {name}")
    for one in deletion.things:
        run.claims.release_name(one.kind, one.name)
    return deletion


def refuse_dependants(deletion: Deletion, *, cascade: bool) -> None:
    """InputError if something beside the thing itself would go, unless ``cascade``."""
    if not cascade and (others := deletion.dependants()):
        kind, name = deletion.things[0].kind, deletion.things[0].name
        raise InputError(
            f"{kind} {name} is not deleted, since this was made of it: {others}; delete that "
            "first, or all of it with --cascade"
        )


def undo_runs(transaction: Transaction, runs: Iterable[str], fingerprints: Iterable[str]) -> None:
    """Completed runs whose work is gone count as undone: those with the key of one of ``runs``,
    and those that read, or were to make, what has one of ``fingerprints``."""
    gone, wrote = set(fingerprints), set(runs)
    known = transaction.rows("SELECT run, key, state, inputs FROM runs")
    keys = {key for run, key, _, _ in known if run in wrote}
    undone = [
        str(run)
        for run, key, state, inputs in known
        if state == "completed"
        and (key in keys or gone.intersection(map(str, json.loads(str(inputs)).values())))
    ]
    if undone:
        statement = "UPDATE runs SET state = 'undone' WHERE run IN (SELECT unnest($undone))"
        transaction.execute(statement, undone=undone)


def _delete(transaction: Transaction, deletion: Deletion) -> None:
    names: dict[str, list[str]] = {}
    for one in deletion.things:
        names.setdefault(one.kind, []).append(one.name)
    wrote: set[str] = set()

    def remove(table: str, condition: str, **values: object) -> None:
        if table in WRITTEN:
            query = f"SELECT DISTINCT run FROM {table} WHERE {condition}"  # noqa: S608 ours
            wrote.update(str(run) for (run,) in transaction.rows(query, **values))
        transaction.execute(f"DELETE FROM {table} WHERE {condition}", **values)  # noqa: S608 ours

    for kind, gone in names.items():
        for table, condition in FOUND.get(kind, {}).items():
            remove(table, condition, names=gone)
        for table, column in PARTS.get(kind, {}).items():
            remove(table, f"{column} IN (SELECT unnest($names))", names=gone)
    owners = [one.id for one in deletion.things if one.id is not None]
    remove("shards", "owner IN (SELECT unnest($owners))", owners=owners)
    for kind, gone in names.items():
        remove(TABLE_OF[kind], f"{kind} IN (SELECT unnest($names))", names=gone)
    if "rowset" in names:  # a tokenizer's words go with the last rowset that it made
        remove(
            "vocabulary", "tokenizer NOT IN (SELECT tokenizer FROM rowsets WHERE tokenizer <> '')"
        )
    undo_runs(transaction, wrote, (one.fingerprint for one in deletion.things))


def _names(rows: Rows, kind: str, table: str, column: str, wanted: list[str]) -> list[str]:
    query = f"""
        SELECT {kind} FROM {table} WHERE {column} IN (SELECT unnest($wanted)) ORDER BY {kind}
    """  # noqa: S608 ours
    return [str(name) for (name,) in rows(query, wanted=wanted)]


def _things(rows: Rows, store: Store, kind: str, names: list[str]) -> list[Thing]:
    if kind in ("rowset", "tensor", "codes"):
        query = f"""
            SELECT t.{kind}, t.id, t.fingerprint, any_value(t.rows), coalesce(sum(s.bytes), 0)
            FROM {TABLE_OF[kind]} AS t LEFT JOIN shards AS s ON s.owner = t.id
            WHERE t.{kind} IN (SELECT unnest($names)) GROUP BY ALL ORDER BY t.{kind}
        """  # noqa: S608 ours
    elif kind == "corpus":
        query = """
            SELECT c.corpus, NULL, c.fingerprint, count(*), sum(strlen(d.text))
            FROM corpora AS c INNER JOIN documents AS d USING (corpus)
            WHERE c.corpus IN (SELECT unnest($names)) GROUP BY ALL ORDER BY c.corpus
        """
    elif kind == "dictionary":
        query = """
            SELECT dictionary, NULL, fingerprint, n_features, path FROM dictionaries
            WHERE dictionary IN (SELECT unnest($names)) ORDER BY dictionary
        """
    else:
        query = f"""
            SELECT {kind}, NULL, fingerprint, 1, 0 FROM {TABLE_OF[kind]}
            WHERE {kind} IN (SELECT unnest($names)) ORDER BY {kind}
        """  # noqa: S608 ours
    return [
        Thing(
            kind,
            str(name),
            None if id_ is None else str(id_),
            str(hash_),
            int(str(count)),
            _size(store, size) if isinstance(size, str) else int(str(size)),
        )
        for name, id_, hash_, count, size in rows(query, names=names)
    ]


def _size(store: Store, folder: str) -> int:
    return sum(one.bytes for one in store.files(store.root / folder))
