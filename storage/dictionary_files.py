"""Dictionary files: a learned decomposition as safetensors, beside its configuration."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
from numpy.typing import NDArray

from actlake.storage.arrays import sound_content
from actlake.storage.durable import publish
from actlake.storage.errors import NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json, check_name, new_id, sought
from actlake.storage.reading import Reading
from actlake.storage.run import Run

__all__ = ["DictionaryFile", "dictionary_named", "write_dictionary"]


@dataclass(frozen=True, slots=True)
class DictionaryFile:
    """A dictionary as stored: what ``analytics.dictionaries`` needs to encode and decode."""

    name: str
    method: str
    tensor: str
    n_features: int
    width: int
    config: dict[str, Any]
    arrays: dict[str, NDArray[np.float32]]
    fingerprint: str
    sha256: str
    """Of the weights."""


def write_dictionary(
    run: Run,
    *,
    name: str,
    method: str,
    tensor: str,
    n_features: int,
    width: int,
    config: Mapping[str, Json],
    arrays: Mapping[str, NDArray[np.float32]],
    fingerprint: str,
    tables: Mapping[str, pa.Table],
) -> None:
    """Commit a dictionary, with the rows of other ``tables`` that tell how it was made."""
    check_name("dictionary", name)
    run.hold(f"dictionary:{name}")
    if run.exists("dictionaries", "dictionary", name, fingerprint):
        return
    dictionary_id = new_id()
    folder = run.root / "dictionaries" / dictionary_id
    weights = safetensors.numpy.save(dict(arrays))
    content = {
        "dictionary.safetensors": weights,
        "config.json": json.dumps(config, indent=1, sort_keys=True).encode(),
    }
    with run.store.new_folder(folder) as staged:
        files = {
            f"dictionaries/{dictionary_id}/{name}": publish(staged / name, [text])
            for name, text in content.items()
        }
    row = {
        "dictionary": name,
        "method": method,
        "tensor": tensor,
        "n_features": n_features,
        "width": width,
        "config": json.dumps(config, sort_keys=True),
        "fingerprint": fingerprint,
        "path": f"dictionaries/{dictionary_id}",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "run": run.run,
    }
    dictionaries = pa.Table.from_pylist([row], arrow_schema("dictionaries"))
    run.append(
        {"dictionaries": dictionaries, **tables},
        f"dictionary {name}",
        folders=[folder],
        files=files,
    )


def dictionary_named(reading: Reading, name: str) -> DictionaryFile:
    """The dictionary of that name; NotFoundError if there is none, CorruptError if it changed."""
    query = """
        SELECT method, tensor, n_features, width, config, fingerprint, path, sha256
        FROM dictionaries WHERE dictionary = $dictionary
    """
    found = reading.facts("dictionaries", query, dictionary=sought(name))
    if not found:
        raise NotFoundError(
            f"no dictionary {name!r} in {reading.root}; see `actlake ls dictionaries`"
        )
    facts = found[0]
    weights = sound_content(
        reading.store,
        reading.root / facts["path"] / "dictionary.safetensors",
        f"dictionary {name}",
        lambda content: hashlib.sha256(content).hexdigest() == facts["sha256"],
    )
    plain = ("method", "tensor", "n_features", "width", "fingerprint", "sha256")
    return DictionaryFile(
        name=name,
        **{column: facts[column] for column in plain},
        config=json.loads(facts["config"]),
        arrays=safetensors.numpy.load(weights),
    )
