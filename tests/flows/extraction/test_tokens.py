from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from actlake.flows.extraction.tokens import (
    SpecialTokens,
    special_tokens,
    tokenize_documents,
    vocabulary,
)
from actlake.storage.errors import CorpusError, InputError, ModelError

TokenizerMaker = Callable[[int, int], PreTrainedTokenizerBase]


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, so that one character may be several tokens."""
    pieces = {piece: i for i, piece in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(pieces, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("suffix", [0, 1, 2])
def test_special_tokens__are_found_on_both_sides(
    make_tokenizer: TokenizerMaker, prefix: int, suffix: int
) -> None:
    # The toy vocabulary: <pad> <end> <p0> <p1> <s0> <s1> <unk> w0 …
    assert special_tokens(make_tokenizer(prefix, suffix)) == SpecialTokens(
        (2, 3)[:prefix], (4, 5)[:suffix]
    )


def test_document_windows__planted(make_tokenizer: TokenizerMaker) -> None:
    # Windows of 5 with 2 specials and 1 carried token hold w0 w1 w2, (w2) w3 w4, (w4) w5.
    (rows,) = tokenize_documents(make_tokenizer(1, 1), ["w0 w1 w2 w3 w4 w5"], window=5, overlap=1)

    assert rows.document == 0
    assert rows.token_id.tolist() == [2, 7, 8, 9, 4, 2, 10, 11, 4, 2, 12, 4]
    assert rows.position.tolist() == list(range(12))
    assert rows.window.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert rows.window_position.tolist() == [0, 1, 2, 3, 4, 0, 2, 3, 4, 0, 2, 3]
    assert rows.is_special.tolist() == [*([1, 0, 0, 0, 1]), *([1, 0, 0, 1]), *([1, 0, 1])]
    assert rows.char_start.tolist() == [0, 0, 3, 6, 8, 9, 9, 12, 14, 15, 15, 17]
    assert rows.char_stop.tolist() == [0, 2, 5, 8, 8, 9, 11, 14, 14, 15, 17, 17]


def test_packed_windows__planted(make_tokenizer: TokenizerMaker) -> None:
    # The stream is <p0> w0 w1 <end> | <p0> w2 <end>, cut at 4 with 1 carried token.
    first, second = tokenize_documents(
        make_tokenizer(1, 0), ["w0 w1", " w2 "], windowing="packed", window=4, overlap=1
    )

    assert first.token_id.tolist() == [2, 7, 8, 1]
    assert second.token_id.tolist() == [2, 9, 1]
    assert (first.position.tolist(), second.position.tolist()) == ([0, 1, 2, 3], [0, 1, 2])
    assert (first.window.tolist(), second.window.tolist()) == ([0, 0, 0, 0], [1, 1, 1])
    assert first.window_position.tolist() == [0, 1, 2, 3]
    assert second.window_position.tolist() == [1, 2, 3]
    assert first.is_special.tolist() == [True, False, False, True]
    assert second.char_start.tolist() == [1, 1, 3]
    assert second.char_stop.tolist() == [1, 3, 3]


def test_packed_windows__end_with_the_suffix_that_the_tokenizer_adds(
    make_tokenizer: TokenizerMaker,
) -> None:
    (rows,) = tokenize_documents(make_tokenizer(0, 1), ["w0"], windowing="packed", window=9)
    assert rows.token_id.tolist() == [7, 4]


@pytest.mark.parametrize("windowing", ["document", "packed"])
def test_long_documents__are_cut_and_never_truncated(
    make_tokenizer: TokenizerMaker, windowing: str
) -> None:
    words = [f"w{i % 20}" for i in range(3000)]
    (rows,) = tokenize_documents(
        make_tokenizer(2, 1),
        [" ".join(words)],
        windowing=windowing,
        window=64,
        overlap=10,
    )

    content = rows.token_id[~rows.is_special]
    assert content.tolist() == [7 + i % 20 for i in range(3000)]
    assert rows.window_position.max() == 63


@pytest.mark.parametrize("windowing", ["document", "packed"])
def test_spans__are_code_points_of_the_text(windowing: str) -> None:
    text = "naïve 🙂 ﬁn\u0301"
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = "a"
    (rows,) = tokenize_documents(tokenizer, [text], windowing=windowing, window=4)

    spans = [
        text[a:b]
        for a, b, special in zip(rows.char_start, rows.char_stop, rows.is_special, strict=True)
        if not special
    ]
    # A character of n bytes is n tokens, each with the whole character as its span.
    assert spans == [char for char in text for _ in char.encode()]


def test_token_found_in_the_text__is_not_special(make_tokenizer: TokenizerMaker) -> None:
    (rows,) = tokenize_documents(make_tokenizer(1, 0), ["w0 <end> w1"], window=9)
    assert rows.token_id.tolist() == [2, 7, 1, 8]
    assert rows.is_special.tolist() == [True, False, False, False]


def test_documents__stream(make_tokenizer: TokenizerMaker) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for taken in count(1):
            yield f"w{taken % 20}"

    documents = list(islice(tokenize_documents(make_tokenizer(1, 1), endless(), window=8), 500))

    assert [rows.document for rows in documents] == list(range(500))
    assert [int(rows.token_id[1]) for rows in documents] == [7 + i % 20 for i in range(1, 501)]
    assert taken < 500 + 100  # one batch ahead at most


@pytest.mark.parametrize("windowing", ["document", "packed"])
def test_document_without_tokens__is_named(make_tokenizer: TokenizerMaker, windowing: str) -> None:
    documents = tokenize_documents(
        make_tokenizer(1, 1),
        ["w0"] * 70 + [" \n"],
        windowing=windowing,
        window=8,
    )
    with pytest.raises(CorpusError, match="document 70 gives no tokens"):
        list(documents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 4, "overlap": 2}, "a window of 4 tokens has no room .* give at least 5"),
        ({"window": 2, "overlap": 2, "windowing": "packed"}, "give at least 3"),
        ({"window": 8, "overlap": -1}, "overlap of -1 tokens is negative"),
        ({"window": 8, "windowing": "sentence"}, "no windowing 'sentence'; choose document"),
    ],
)
def test_windows_without_room__are_refused_before_any_text_is_read(
    make_tokenizer: TokenizerMaker, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenize_documents(make_tokenizer(1, 1), [], **arguments)  # type: ignore[arg-type] # mixed


def test_packing__needs_an_end_token() -> None:
    with pytest.raises(InputError, match="no end token to join packed documents with"):
        tokenize_documents(byte_tokenizer(), [], windowing="packed", window=4)


def test_tokenizer_without_offsets__is_refused() -> None:
    class Slow(PreTrainedTokenizerBase):  # type: ignore[misc] # its types are not read
        is_fast = False

    with pytest.raises(ModelError, match="has no fast version"):
        special_tokens(Slow())


def test_truncation_and_padding_of_the_tokenizer__are_ignored() -> None:
    """Sentence encoders ship tokenizers that cut every text and fill it up."""
    tokenizer = byte_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(4)
    backend.enable_padding(length=4)
    (rows,) = tokenize_documents(tokenizer, ["abcdefgh"], window=100)
    assert rows.rows == 8


def test_vocabulary__shows_text_and_keeps_pieces_of_characters() -> None:
    tokenizer = byte_tokenizer()
    shown = vocabulary(tokenizer)
    pieces = tokenizer.get_vocab()
    assert len(shown) == 256
    assert shown[pieces["a"]] == "a"
    assert shown[pieces["Ġ"]] == " "
    assert shown[pieces["ð"]] == "ð"  # the first byte of 🙂, no text by itself


def test_vocabulary__keeps_spaces_and_continuations_and_leaves_holes_empty() -> None:
    pieces = {"[UNK]": 0, "play": 1, "##ing": 2, "▁the": 4}
    tokenizer = Tokenizer(WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.decoder = WordPieceDecoder()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    shown = vocabulary(fast)
    assert shown == ["[UNK]", "play", "##ing", "", " the"]


def test_arrays__have_the_dtypes_that_rowsets_store(make_tokenizer: TokenizerMaker) -> None:
    for windowing in ("document", "packed"):
        (rows,) = tokenize_documents(
            make_tokenizer(1, 1),
            ["w0 w1"],
            windowing=windowing,
            window=8,
        )
        columns = (
            rows.token_id,
            rows.position,
            rows.window,
            rows.window_position,
            rows.char_start,
            rows.char_stop,
        )
        assert {column.dtype for column in columns} == {np.dtype(np.int32)}
        assert {column.shape for column in columns} == {(rows.rows,)}
        assert rows.is_special.dtype == np.bool_
