"""A lake of codes of any size, whose features are used as a power law of their rank, with texts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.flows.maintain import maintain
from actlake.storage import Csr, Document, Lake
from actlake.storage.codes_writer import (
    CodesPlan,
    commit_codes,
    plan_codes,
    publish_codes,
    seal_codes,
)
from actlake.storage.csr import index_dtype
from actlake.storage.dictionary_files import write_dictionary
from benchmarks.sizes import Sizes

DOCUMENT_ROWS = 128
TOPICS = 20
DICTIONARY_WIDTH = 64
WORD = 7
"""Characters of a token, the space after it counted."""


def feature_lake(
    folder: Path, *, rows: int, fires: int, features: int, tokens: int, width: int
) -> Lake:
    """Codes of ``rows`` rows, on each of which at most ``fires`` features fire.

    Documents of 128 rows with their text, the first of which is special, and one of 20 topics, of
    which features know nothing. ``tokens`` is the size of the vocabulary, ``width`` that of the
    rows that the codes would be of, which decides how many are in a shard.
    """
    random = np.random.default_rng(0)
    names = random.permutation(tokens)
    token = names[zipf(random, tokens, rows)].astype(np.int32)
    lake = Lake.create(folder)
    lake.create_corpus("corpus", _documents(token))
    lake.create_rowset("rows", corpus="corpus", columns=_columns(token), width_hint=width)
    sample = random.standard_normal((64, DICTIONARY_WIDTH), np.float32)
    write_dictionary_of(lake, random_dictionary(sample, features, min(fires, features), seed=0))
    _write_codes(lake, random, features, fires)
    return lake


def lake_of(sizes: Sizes, folder: Path, *, rows: int | None = None) -> Lake:
    """The one of a scale, of another number of rows if one is given."""
    return feature_lake(
        folder / "lake",
        rows=sizes.summary_rows if rows is None else rows,
        fires=sizes.summary_fires,
        features=sizes.summary_features,
        tokens=sizes.summary_tokens,
        width=sizes.encode_width,
    )


def postings_of(lake: Lake) -> int:
    """How many there are."""
    return sum(lake.codes("codes").values_of_shard.values())


def compact(lake: Lake) -> None:
    """Put its postings in order of features, and do nothing else."""
    maintain(
        lake,
        compact=True,
        backups=0,
        verify_parts=0,
        merge=False,
        expire_days=None,
        grace_hours=None,
    )


def write_dictionary_of(lake: Lake, learned: Dictionary) -> None:
    """As if it had been trained."""
    with lake.run("benchmark", {}, {}) as run:
        write_dictionary(
            run,
            name="dictionary",
            method=learned.method,
            tensor="tensor",
            n_features=learned.n_features,
            width=learned.width,
            config=learned.config,
            arrays=learned.arrays,
            fingerprint="dictionary",
            tables={},
        )


class Masks:
    """Masks of new names that mean the same: what exists under one is not made again."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._made = lake, 0

    def new(self) -> str:
        self._made += 1
        return self._lake.create_mask(f"round-{self._made}", "NOT is_special").name


def topic_of(document: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the topic of each."""
    return document * 7 % TOPICS


def zipf(random: np.random.Generator, things: int, count: int) -> NDArray[np.int64]:
    """Ranks, of which the lower ones come more often."""
    weight = np.cumsum(1 / (10.0 + np.arange(things)))
    drawn: NDArray[np.int64] = np.searchsorted(weight, random.random(count) * weight[-1])
    return drawn


def _documents(token: NDArray[np.int32]) -> Iterator[Document]:
    for number, first in enumerate(range(0, len(token), DOCUMENT_ROWS)):
        text = "".join(f"w{one:05d} " for one in token[first : first + DOCUMENT_ROWS])
        topic = topic_of(np.array(number))
        yield Document(str(number), text, labels={"topic": f"topic {topic:02d}"})


def _columns(token: NDArray[np.int32]) -> Mapping[str, NDArray[np.generic]]:
    rows = np.arange(len(token))
    position = rows % DOCUMENT_ROWS
    return {
        "document": rows // DOCUMENT_ROWS,
        "position": position.astype(np.int32),
        "token_id": token,
        "char_start": (WORD * position).astype(np.int32),
        "char_stop": (WORD * position + WORD - 1).astype(np.int32),
        "is_special": position == 0,
    }


def _write_codes(lake: Lake, random: np.random.Generator, features: int, fires: int) -> None:
    rowset = lake.rowset("rows")
    plan = CodesPlan(
        name="codes",
        dictionary="dictionary",
        dictionary_fingerprint="dictionary",
        n_features=features,
        tensor="tensor",
        tensor_fingerprint="tensor",
        rowset=rowset,
        dtype="float16",
    )
    names = random.permutation(features)  # features come in no order of frequency
    with lake.run("benchmark", {}, {}) as run:
        codes_id = plan_codes(run, plan)
        for shard in range(len(rowset.grid)):
            start, stop = rowset.grid.span(shard)
            block = _block(random, names, stop - start, fires)
            published = publish_codes(run, plan, codes_id, shard, block)
            commit_codes(run, [published], f"shard {shard}")
        seal_codes(run, plan, codes_id)


def _block(random: np.random.Generator, names: NDArray[np.int64], rows: int, fires: int) -> Csr:
    """Distinct features on every row."""
    drawn = np.sort(names[zipf(random, len(names), rows * fires)].reshape(rows, fires))
    distinct = np.diff(drawn, axis=1, prepend=-1) > 0
    indptr = np.concatenate(([0], np.cumsum(distinct.sum(axis=1)))).astype(np.int64)
    indices = drawn[distinct].astype(index_dtype(len(names)))
    values = random.lognormal(0, 0.5, len(indices)).astype(np.float16)
    return Csr(indptr, indices, values, len(names))
