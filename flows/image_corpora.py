"""Corpora of images: which corpora are such, and what a model makes of their documents."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from actlake.flows.source_images import HASH, PLACE, read_image
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.lake import Lake
from actlake.storage.rowsets import Rowset

if TYPE_CHECKING:  # torch takes seconds to import
    from actlake.flows.extraction.images import Patches
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["capture_images", "images_in", "refuse_other_kind", "refuse_other_patches"]


def images_in(lake: Lake, corpus: str) -> Path | None:
    """The folder that the images of ``corpus`` are below; None for a corpus of text."""
    query = "SELECT source FROM corpora WHERE corpus = $corpus"
    for (source,) in lake.sql(query, corpus=corpus).rows():
        if str(source).startswith(f"{PLACE}/"):
            return Path(str(source).removeprefix(PLACE))
    return None


def refuse_other_kind(corpus: str, facts: "ModelFacts", *, images: bool) -> None:
    """InputError where the corpus has ``images`` and the model reads text, or the other way."""
    if images and facts.patches is None:
        raise InputError(
            f"corpus {corpus} holds images and {facts.name} ({facts.architecture}) reads text; "
            "give a model that sees images, see docs/sites.md"
        )
    if not images and facts.patches is not None:
        raise InputError(
            f"corpus {corpus} holds text and {facts.name} ({facts.architecture}) sees images; "
            "ingest a folder of images, or an array of them"
        )


def refuse_other_patches(lake: Lake, a: Rowset, b: Rowset) -> None:
    """InputError where the rows of one are patches of images and those of the other are not the
    same ones: patches are joined by their places.
    """
    query = "SELECT token_id, text FROM vocabulary WHERE tokenizer = $tokenizer ORDER BY token_id"
    grids = [
        lake.sql(query, tokenizer=one.tokenizer or "").rows() if one.kind == "patch" else None
        for one in (a, b)
    ]
    if grids[0] != grids[1]:
        raise InputError(
            f"the rows of {a.name} and {b.name} are not the same patches of the images; compare "
            "models that cut an image alike, or their pooled sites"
        )


def capture_images(
    lake: Lake,
    loaded: "LoadedModel",
    rowset: Rowset,
    sites: Sequence[str],
    shard: int,
    *,
    token_budget: int,
    images: str | None,
    dtype: str = "float32",
) -> dict[str, NDArray[Any]]:
    """Each site's rows of one shard, shape (rows, width), as ``capture_shard`` of text.

    ``images`` is the folder that the images are below now, where it is not the one that they were
    ingested from. An image that was taken back is run as a black one, for the sake of its row
    numbers. CorpusError for an image that is gone or another one than was ingested.
    """
    from actlake.flows.extraction import capture, windows
    from actlake.flows.shard_capture import windows_of_shard

    patches = loaded.facts.patches
    if patches is None:
        raise InputError(f"{loaded.facts.name} sees no images; give a model that does")
    start, stop = rowset.grid.span(shard)
    if rowset.kind == "document":
        documents = np.arange(start, stop)
        cut = [windows.windows_of_document(patches.rows(int(one))) for one in documents]
        pixels = _Pixels(lake, loaded, patches, rowset.corpus, documents, images)
        return capture.pool(loaded, cut, sites, token_budget=token_budget, pixels=pixels)
    found = windows_of_shard(rowset, shard)
    documents = rowset.at("document", np.array([window.start for window in found]))
    pixels = _Pixels(lake, loaded, patches, rowset.corpus, documents, images)
    return capture.capture(
        loaded,
        sites,
        found,
        row_start=start,
        row_stop=stop,
        token_budget=token_budget,
        pixels=pixels,
        dtype=dtype,
    )


class _Pixels:
    """What a model sees of some images, read as they are asked for."""

    def __init__(
        self,
        lake: Lake,
        loaded: "LoadedModel",
        patches: "Patches",
        corpus: str,
        documents: NDArray[np.integer[Any]],
        images: str | None,
    ) -> None:
        root = images_in(lake, corpus) if images is None else Path(images).expanduser()
        if root is None:
            raise InputError(f"corpus {corpus} holds no images; ingest a folder of images")
        query = f"""
            SELECT d.document, d.text, l.value_text FROM documents AS d
            LEFT JOIN labels AS l
                ON l.corpus = d.corpus AND l.document = d.document AND l.label = '{HASH}'
            WHERE d.corpus = $corpus AND d.document BETWEEN $first AND $last
        """  # noqa: S608 ours
        span = {"first": int(documents[0]), "last": int(documents[-1])}
        rows = lake.sql(query, corpus=corpus, **span).rows()
        self._known = {int(str(document)): (text, sha256) for document, text, sha256 in rows}
        self._root, self._corpus, self._documents = root, corpus, documents
        self._loaded, self._patches = loaded, patches

    def __call__(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of the images at ``indices`` among the documents, shape (images, 3, height, width)."""
        return np.stack([self._of(int(self._documents[index])) for index in indices])

    def _of(self, document: int) -> NDArray[np.float32]:
        from actlake.flows.extraction.images import pixels_of

        text, sha256 = self._known[document]
        if not text:  # it was taken back
            return np.zeros((3, self._patches.height, self._patches.width), np.float32)
        if sha256 is None:
            raise CorruptError(
                f"document {document} of corpus {self._corpus} has no label {HASH}, so its image "
                "cannot be told from another one; run `actlake verify`"
            )
        image = read_image(self._root, str(text), str(sha256))
        return pixels_of(self._loaded.tokenizer, image, self._loaded.facts.source)
