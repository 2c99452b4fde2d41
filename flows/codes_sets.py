"""A set of codes: which codes of one dictionary are summarized together, and under what name."""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from actlake.flows.codes_blocks import finished_codes
from actlake.storage.codes import Codes
from actlake.storage.errors import BusyError, InputError, NameTakenError, NotFoundError
from actlake.storage.example_rows import members_of_set
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import check_name, repeated
from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

__all__ = [
    "has_other_members",
    "inputs_of",
    "members_of",
    "members_of_name",
    "refuse_name",
    "refuse_others",
    "set_table",
]

Rows = Callable[..., Iterable[tuple[object, ...]]]
"""Asks the lake: ``rows(query, **parameters)``."""


def members_of(lake: Lake, codes: str | Sequence[str], name: str | None) -> list[Codes]:
    """The codes that are summarized: one, or with a ``name`` all that make up that set.

    InputError for none, for several without a name, for codes that are given twice or are over one
    corpus, since its rows would count twice, and for codes of two dictionaries or tokenizers, whose
    features or tokens are not the same. IncompleteError for codes that lack shards.
    """
    names = [codes] if isinstance(codes, str) else [*codes]
    if not names:
        raise InputError("no codes are named; name one or more to summarize")
    if name is not None:
        check_name("set of codes", name)
    elif len(names) > 1:
        raise InputError(
            f"{len(names)} codes are summarized as a set, which has no name yet; give --name"
        )
    if twice := repeated(names):
        raise InputError(f"codes {twice} are given twice; give each once")
    members = [finished_codes(lake, one) for one in names]
    first = members[0]
    for at, one in enumerate(members):
        if one.dictionary != first.dictionary:
            raise InputError(
                f"{first.name} and {one.name} are of the dictionaries {first.dictionary} and "
                f"{one.dictionary}, whose features are not the same; give codes of one dictionary"
            )
        for other in members[:at]:
            if one.rowset.corpus == other.rowset.corpus:
                raise InputError(
                    f"{other.name} and {one.name} are both over the corpus {one.rowset.corpus}, "
                    "which would count twice; give codes of one dictionary over several"
                )
        if _rows_are(one) != _rows_are(first):
            raise InputError(
                f"rows of {first.name} are {_rows_are(first)} and those of {one.name} "
                f"{_rows_are(one)}, which have no profile together; give codes whose rows are "
                "made alike"
            )
    if name is not None:
        refuse_name(lambda query, **given: lake.sql(query, **given).rows(), name, first)
    return members


def members_of_name(lake: Lake, name: str, mask: str) -> list[Codes]:
    """The codes of that name or, where a set was summarized under it, the codes of the set.

    NotFoundError if there is neither, InputError for a set that was summarized under other masks
    than ``mask``, IncompleteError for codes that lack shards.
    """
    try:
        return [finished_codes(lake, name)]
    except NotFoundError:
        if not (members := members_of_set(lake.reading, name, mask)):
            raise
    return [finished_codes(lake, one) for one in members]


def inputs_of(lake: Lake, members: Sequence[Codes], name: str, mask: str) -> dict[str, str]:
    """What goes into a run on the codes of that name, or on the set of it under the mask, whose
    ``members`` it is given."""
    if name == members[0].name:
        return {"codes": members[0].fingerprint}
    # What was told of a set goes when it gets other members, and was not told yet when it gets
    # these again: so the run that summarized it goes in.
    query = "SELECT DISTINCT run FROM codes_sets WHERE codes = $name AND mask = $mask"
    runs = [run for (run,) in lake.sql(query, name=name, mask=mask).rows()]
    if len(runs) != 1:
        raise _changed(name)
    [run] = runs
    return {f"codes {one.name}": one.fingerprint for one in members} | {"set": str(run)}


def _rows_are(codes: Codes) -> str:
    """What rows are, in words: of the same, statistics of tokens mean the same."""
    tokenizer = codes.rowset.tokenizer
    return f"{codes.rowset.kind}s" + (f" of the tokenizer {tokenizer}" if tokenizer else "")


def refuse_name(rows: Rows, name: str, member: Codes) -> None:
    """NameTakenError if codes have the name, or a set that ``member`` could not be in."""
    if [*rows("SELECT codes FROM codes WHERE codes = $name", name=name)]:
        raise NameTakenError(f"codes are called {name}; choose another name for the set")
    query = """
        SELECT DISTINCT c.dictionary, r.kind, r.tokenizer FROM codes_sets AS s
        INNER JOIN codes AS c ON c.codes = s.member INNER JOIN rowsets AS r USING (rowset)
        WHERE s.codes = $name
    """
    mine = (member.dictionary, member.rowset.kind, member.rowset.tokenizer)
    for dictionary, kind, tokenizer in rows(query, name=name):
        if (dictionary, kind, tokenizer) != mine:
            raise NameTakenError(
                f"the set {name} is of the dictionary {dictionary} over {kind}s of the tokenizer "
                f"{tokenizer}; choose another name"
            )


def refuse_others(transaction: Transaction, name: str, mask: str, members: Sequence[Codes]) -> None:
    """BusyError where ``name`` is of a set that has other members by now than those it had."""
    if name != members[0].name and has_other_members(transaction.rows, name, mask, members):
        raise _changed(name)


def _changed(name: str) -> BusyError:
    return BusyError(
        f"the set {name} was summarized with other codes meanwhile, or is gone; run this again"
    )


def has_other_members(rows: Rows, name: str, mask: str, members: Sequence[Codes]) -> bool:
    """Whether the set of that name under the mask is made of others, or of none yet."""
    query = "SELECT member FROM codes_sets WHERE codes = $name AND mask = $mask ORDER BY place"
    return [one for (one,) in rows(query, name=name, mask=mask)] != [one.name for one in members]


def set_table(name: str, mask: str, members: Sequence[Codes], run: str) -> pa.Table:
    """The rows of codes_sets: which codes make up the set, in their order."""
    rows = [
        {"codes": name, "mask": mask, "place": place, "member": one.name, "run": run}
        for place, one in enumerate(members, 1)
    ]
    return pa.Table.from_pylist(rows, arrow_schema("codes_sets"))
