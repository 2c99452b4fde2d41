"""Rows from text: documents are tokenized and cut into windows, nothing lost and nothing repeated.

Two windowing rules. ``document``: windows never cross documents, and each has the special tokens
that the tokenizer adds before and after its content. ``packed``: each document becomes its prefix
specials, its content and an end token; these are joined into one stream, which is cut at exactly
``window`` tokens. In both, a window begins with ``overlap`` tokens carried from the one before:
the model sees them again, but they are rows only once, so they show as a jump in
``window_position``. ``windows.windows_of_rows`` is the inverse.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import CorpusError, InputError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


VERSION = f"tokenizers {version('tokenizers')}"
_DOCUMENTS_AT_ONCE = 64
_Encoded = tuple[int, NDArray[np.int32], NDArray[np.int32]]
"""A document, its token ids, and their spans, shape (tokens, 2)."""
_PROBES = ("a", "0", "the", ".")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What a tokenizer adds to every text."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prefix) + len(self.suffix)


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """All rows of one document, in order; every array has shape (rows,)."""

    document: int
    """Index of the document in the corpus, from 0."""
    token_id: NDArray[np.int32]
    position: NDArray[np.int32]
    """Index of the row in its document."""
    window: NDArray[np.int32]
    """Index of the window, in the document or, where packed, in the corpus."""
    window_position: NDArray[np.int32]
    """Index in the sequence that the model sees."""
    char_start: NDArray[np.int32]
    """Code points into the text of the document; specials have spans of length zero."""
    char_stop: NDArray[np.int32]
    is_special: NDArray[np.bool_]
    """True for tokens that the tokenizer or the packing added, not for those found in the text."""

    @property
    def rows(self) -> int:
        return len(self.token_id)


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> SpecialTokens:
    """What ``tokenizer`` puts before and after a text, found by encoding one with and without."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path} has no fast version and gives no character "
            "offsets; convert it to a tokenizer.json"
        )
    added = tokenizer.num_special_tokens_to_add()
    for probe in (*_PROBES, *islice(tokenizer.get_vocab(), 100)):
        bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
        full = tokenizer(probe, add_special_tokens=True)["input_ids"]
        starts = [i for i in range(added + 1) if full[i : i + len(bare)] == bare]
        if bare and len(full) == len(bare) + added and len(starts) == 1:
            stop = starts[0] + len(bare)
            return SpecialTokens(tuple(full[: starts[0]]), tuple(full[stop:]))
    raise ModelError(
        f"the special tokens of the tokenizer {tokenizer.name_or_path} cannot be told from its "
        "content; check its post-processor"
    )


def tokenize_documents(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Iterable[str],
    *,
    windowing: str = "document",
    window: int,
    overlap: int = 0,
    document: int = 0,
    row: int = 0,
) -> Iterator[DocumentRows]:
    """The rows of each text, in order; holds a few documents at a time.

    The first text is that of ``document``, whose first row is ``row``.

    Raises InputError at once for a window without room for new tokens, and CorpusError at the
    first document whose text gives no tokens.
    """
    if windowing not in ("document", "packed"):
        raise InputError(f"no windowing {windowing!r}; choose document or packed")
    special = special_tokens(tokenizer)
    if overlap < 0:
        raise InputError(f"an overlap of {overlap} tokens is negative; give 0 or more")
    taken = overlap + (len(special) if windowing == "document" else 0)
    if window <= taken:
        raise InputError(
            f"a window of {window} tokens has no room for new ones beside {overlap} of overlap and "
            f"{taken - overlap} special tokens; give at least {taken + 1}"
        )
    if windowing == "document":
        capacity = window - len(special)
        return _cut_documents(_encoded(tokenizer, texts, document), special, capacity, overlap)
    encoded = _encoded(tokenizer, texts, document)
    return _cut_stream(encoded, _with_end(tokenizer, special), window, overlap, row)


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The text of each token id, for display: index is the id, "" where no token has it.

    A token that is only part of a character keeps the raw piece of its tokenizer.
    """
    pieces = [""] * (max(tokenizer.get_vocab().values()) + 1)
    for piece, token_id in tokenizer.get_vocab().items():
        pieces[token_id] = piece
    return [_display(tokenizer, token_id, piece) for token_id, piece in enumerate(pieces)]


def _display(tokenizer: "PreTrainedTokenizerBase", token_id: int, piece: str) -> str:
    if "▁" in piece:  # sentencepiece: decoding alone would lose the leading space
        return piece.replace("▁", " ")
    if not piece:
        return ""
    text = str(tokenizer.decode([token_id], clean_up_tokenization_spaces=False))
    return piece if not text or "\ufffd" in text else text


def _with_end(tokenizer: "PreTrainedTokenizerBase", special: SpecialTokens) -> SpecialTokens:
    if special.suffix:
        return special
    for end in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if end is not None:
            return SpecialTokens(special.prefix, (int(end),))
    raise InputError(
        f"the tokenizer {tokenizer.name_or_path} has no end token to join packed documents with; "
        "use document windows"
    )


def _encoded(
    tokenizer: "PreTrainedTokenizerBase", texts: Iterable[str], document: int
) -> Iterator[_Encoded]:
    """Of each text, without special tokens."""
    remaining = iter(texts)
    while batch := list(islice(remaining, _DOCUMENTS_AT_ONCE)):
        encoded = tokenizer(
            batch,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # else it warns of texts longer than the model's window
        )
        for ids, spans in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            if not ids:
                raise CorpusError(
                    f"document {document} gives no tokens; leave it out of the corpus or give it "
                    "text"
                )
            yield document, np.array(ids, np.int32), np.array(spans, np.int32)
            document += 1


def _seats(
    index: NDArray[np.int64], size: int, overlap: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Window, and place in it, of each index of a sequence cut into windows of ``size``."""
    step = size - overlap
    window = np.maximum(0, (index - overlap) // step)
    return window, index - window * step


def _cut_documents(
    encoded: Iterable[_Encoded], special: SpecialTokens, capacity: int, overlap: int
) -> Iterator[DocumentRows]:
    before, after = len(special.prefix), len(special.suffix)
    for document, ids, spans in encoded:
        of_token, seat = _seats(np.arange(len(ids)), capacity, overlap)
        windows = np.arange(of_token[-1] + 1)
        first = np.searchsorted(of_token, windows)
        last = np.searchsorted(of_token, windows, side="right") - 1
        row = np.arange(len(ids)) + (of_token + 1) * before + of_token * after
        prefix_rows = (row[first] - before)[:, None] + np.arange(before)
        suffix_rows = (row[last] + 1)[:, None] + np.arange(after)

        rows = len(ids) + len(windows) * (before + after)
        token_id, window, window_position, char_start, char_stop = np.zeros((5, rows), np.int32)
        is_special = np.ones(rows, np.bool_)
        token_id[prefix_rows], token_id[row], token_id[suffix_rows] = (
            special.prefix,
            ids,
            special.suffix,
        )
        window[prefix_rows], window[row], window[suffix_rows] = (
            windows[:, None],
            of_token,
            windows[:, None],
        )
        window_position[prefix_rows] = np.arange(before)
        window_position[row] = before + seat
        window_position[suffix_rows] = before + seat[last, None] + 1 + np.arange(after)
        for column in (char_start, char_stop):
            column[prefix_rows] = spans[first, 0, None]
            column[suffix_rows] = spans[last, 1, None]
        char_start[row], char_stop[row] = spans.T
        is_special[row] = False
        position = np.arange(rows, dtype=np.int32)
        yield DocumentRows(
            document,
            token_id,
            position,
            window,
            window_position,
            char_start,
            char_stop,
            is_special,
        )


def _cut_stream(
    encoded: Iterable[_Encoded], special: SpecialTokens, size: int, overlap: int, seen: int
) -> Iterator[DocumentRows]:
    before, after = len(special.prefix), len(special.suffix)
    for document, ids, spans in encoded:
        token_id = np.concatenate((special.prefix, ids, special.suffix)).astype(np.int32)
        position = np.arange(len(token_id), dtype=np.int32)
        window, window_position = _seats(seen + position.astype(np.int64), size, overlap)
        pad = (before, after)
        yield DocumentRows(
            document,
            token_id,
            position,
            window.astype(np.int32),
            window_position.astype(np.int32),
            np.pad(spans[:, 0], pad, constant_values=(spans[0, 0], spans[-1, 1])),
            np.pad(spans[:, 1], pad, constant_values=(spans[0, 0], spans[-1, 1])),
            np.pad(np.zeros(len(ids), np.bool_), pad, constant_values=True),
        )
        seen += len(token_id)
