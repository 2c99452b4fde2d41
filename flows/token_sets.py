"""Sets of tokens that features may raise together: of how tokens look, and those people name."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.token_sets import LOOKS, looks, named_sets
from actlake.flows.progress import say
from actlake.storage.errors import InputError
from actlake.storage.keys import check_name
from actlake.storage.lake import Lake

if TYPE_CHECKING:  # torch takes seconds to import
    from actlake.analytics.dictionaries.logit_effects import TokenSets

__all__ = ["MOST_SETS", "NamedSets", "named_members", "read_token_sets"]

MOST_SETS = 100
SHOWN = 5
"""Entries that a sentence lists at most."""


@dataclass(frozen=True, slots=True)
class NamedSets:
    """The sets of a vocabulary that hold some of its tokens and not all, by name."""

    names: tuple[str, ...]
    token_id: NDArray[np.int64]
    members: NDArray[np.bool_]
    """Shape (sets, tokens)."""

    def among(self, rows: int) -> "TokenSets | None":
        """The same, for an unembedding of that many rows; None where no set is left to look for."""
        from actlake.analytics.dictionaries.logit_effects import TokenSets

        if not self.names or self.token_id[-1] >= rows:
            return None
        return TokenSets(self.token_id, self.members)


def named_members(
    lake: Lake, tokenizer: str | None, named: Mapping[str, Sequence[str]]
) -> NamedSets:
    """The sets of ``LOOKS`` and those in ``named``, among the tokens of a tokenizer.

    Entries that are no token are said, and left out; InputError for a set of none, for one of all
    tokens, and where the lake has no vocabulary of the tokenizer and sets are named.
    """
    if len(named) > MOST_SETS:
        raise InputError(f"{len(named)} token sets are more than {MOST_SETS}; name fewer")
    for name in named:
        check_name("token set", name)
        if name in LOOKS:
            raise InputError(f"a token set {name!r} is there for every vocabulary; name it anew")
    query = "SELECT token_id, text FROM vocabulary WHERE tokenizer = $tokenizer ORDER BY token_id"
    found = lake.sql(query, tokenizer=tokenizer or "").arrow()
    texts = [str(one) for one in found["text"].to_pylist()]
    token_id = found["token_id"].to_numpy().astype(np.int64)
    if not texts and named:
        raise InputError(
            f"the lake has no vocabulary of the tokenizer {tokenizer or 'of these rows'}, so token "
            "sets cannot be looked for; leave them out"
        )
    members, missing = named_sets(texts, named)
    for name, entries in missing.items():
        more = ", …" if len(entries) > SHOWN else ""
        say(
            f"token set {name}: {len(entries)} of {len(named[name])} entries are no token: "
            f"{', '.join(map(repr, entries[:SHOWN]))}{more}"
        )
    every = np.concatenate((looks(texts), members))
    sizes = every.sum(axis=1)
    for name, size in zip(named, sizes[len(LOOKS) :].tolist(), strict=True):
        if size == len(texts):
            raise InputError(
                f"the token set {name!r} holds every token, so none stands out; name fewer of them"
            )
    used = (sizes > 0) & (sizes < len(texts))
    names = np.array([*LOOKS, *named], object)[used]
    return NamedSets(tuple(names.tolist()), token_id, every[used])


def read_token_sets(file: Path) -> dict[str, list[str]]:
    """Texts of tokens by the name of their set, as ``file`` has them.

    TOML: an array of texts for each name. Any other file: a text a line, one set of the file's
    name without its suffix. InputError names what is wrong and where.
    """
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise InputError(
            f"no token sets in {file} ({(error.strerror or 'unreadable').lower()}); give a file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8; save it as UTF-8") from error
    if file.suffix.lower() != ".toml":
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise InputError(f"{file} is empty; write a text a line")
        return {file.stem: lines}
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of an integer of thousands of digits
        raise InputError(f"{file} is not TOML: {error}; mend that line") from error
    for name, entries in given.items():
        if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
            raise InputError(f'{file}: {name} is no array of texts; write {name} = ["one", "two"]')
    empty = [name for name, entries in given.items() if not entries]
    if empty or not given:
        what = f"{empty[0]} has no texts" if empty else "no set in it"
        raise InputError(f'{file}: {what}; write {(*empty, "name")[0]} = ["one", "two"]')
    return given
