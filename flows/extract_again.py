"""The rows of a tensor once more, computed as they were: same model, batches and threads."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actlake.storage.arrays import chunk_pieces
from actlake.storage.errors import ModelError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.tensor_arrays import stored_rows
from actlake.storage.tensors import Tensor

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["Extraction"]

Attributes = Mapping[str, Any]


class Extraction:
    """Computes shards of tensors again; the last model stays loaded for the next shard."""

    def __init__(
        self,
        lake: Lake,
        sources: Mapping[str, str],
        device: str,
        images: Mapping[str, str] | None = None,
    ) -> None:
        """``sources`` says, by name, where models are now, if not where they were, and ``images``
        where those of a corpus are.
        """
        self._lake = lake
        self._sources = sources
        self._images = images or {}
        self.device = device
        self._loaded: tuple[str, LoadedModel] | None = None

    def source(self, model: str) -> str:
        """Where the model of that name is read from; NotFoundError if the lake knows none."""
        query = "SELECT source FROM models WHERE model = $model"
        known = self._lake.sql(query, model=model).rows()
        if not known:
            raise NotFoundError(f"the lake has no model {model!r}, so its rows were made elsewhere")
        return self._sources.get(model) or str(known[0][0])

    def chunk(self, tensor: Tensor, array: str, shard: int) -> bytes:
        """The file of one shard of an array. ModelError if the model is not what made it."""
        from actlake.flows.extraction.devices import set_threads
        from actlake.flows.shard_capture import capture_shard

        attributes = tensor.attributes()
        budget, threads = self._plan(tensor, shard)
        set_threads(threads)
        rows = capture_shard(
            self._lake,
            self._load(tensor, attributes),
            tensor.rowset,
            [tensor.site],
            shard,
            window=int(attributes.get("window", 0)),
            token_budget=budget,
            images=self._images.get(tensor.rowset.corpus),
            dtype=tensor.stored_dtype,
        )[tensor.site]
        stored = stored_rows(tensor.name, tensor.rowset, shard, rows, tensor.stored_dtype)
        return b"".join(chunk_pieces(stored[array], tensor.grid.shard_rows))

    def _load(self, tensor: Tensor, attributes: Attributes) -> "LoadedModel":
        from actlake.flows.extraction import models, sites, skeletons

        if self._loaded is not None and self._loaded[0] == tensor.id:
            return self._loaded[1]
        self._loaded = None  # before another takes its memory
        facts = self.facts(tensor)
        resolved, _ = skeletons.sites_of(facts, [tensor.site], str(attributes["attention"]))
        loaded = models.load_model(
            facts,
            device=self.device,
            compute_dtype=str(attributes["compute_dtype"]),
            attention=str(attributes["attention"]),
            last_layer=sites.last_layer(resolved),
        )
        if attributes.get("compiled"):
            from actlake.flows.extraction.compiled import compile_around

            compile_around(loaded.module, str(attributes["compiled_around"]).split(" "))
        self._loaded = tensor.id, loaded
        return loaded

    def facts(self, tensor: Tensor) -> "ModelFacts":
        """Of the model that made ``tensor``; ModelError if another one is in its place."""
        from actlake.flows.extraction import models

        attributes = tensor.attributes()
        source = self.source(tensor.model)
        facts = models.inspect_model(
            source,
            name=tensor.model,
            revision=attributes.get("revision"),
            random_weights=attributes.get("random_weights"),
        )
        if facts.fingerprint != attributes["model_fingerprint"]:
            raise ModelError(
                f"the model at {source} is not the one that made tensor {tensor.name}; say where "
                f"that is with --model {tensor.model}=SOURCE"
            )
        return facts

    def _plan(self, tensor: Tensor, shard: int) -> tuple[int, int]:
        query = """
            SELECT token_budget, torch_threads FROM shards
            WHERE owner = $owner AND shard = $shard
        """
        for budget, threads in self._lake.sql(query, owner=tensor.id, shard=shard).rows():
            return int(str(budget)), int(str(threads))
        raise NotFoundError(f"shard {shard} of tensor {tensor.name} is not committed")
