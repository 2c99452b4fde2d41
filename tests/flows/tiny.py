"""Tiny models with random weights, small corpora, and lakes of both: what the flow tests run on."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from actlake.flows.extract import extract
from actlake.flows.ingest import ingest, ingest_tokens
from actlake.flows.sources import Source
from actlake.flows.train import train
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.flows.extraction.conftest import WORDS, config, toy_tokenizer

LENGTHS = (3, 70, 12, 1, 33, 30, 29, 8, 20, 24, 5)
"""Words of the documents: shorter than, as long as, and several times the window of 32."""


def save_model(architecture: str, folder: Path, *, scale: float = 8.0) -> Path:
    """A model of three layers, 16 wide, with its tokenizer (one special token each side)."""
    torch.manual_seed(0)
    model = AutoModel.from_config(config(architecture))
    with torch.no_grad():  # norms that are all ones would hide a norm that is left out
        for name, weight in model.named_parameters():
            if weight.ndim == 1 or "norm" in name.lower():
                weight.add_(torch.randn_like(weight) * 0.3)
            else:
                weight.mul_(scale)
    model.save_pretrained(folder)
    toy_tokenizer(1, 1).save_pretrained(folder)
    return folder


def write_documents(
    path: Path, lengths: Sequence[int] = LENGTHS, *, seed: int = 0, repeat: int = 1
) -> Path:
    """JSON Lines of random words, with an id and two labels a document."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for index, length in enumerate([*lengths] * repeat):
            words = " ".join(rng.choice(WORDS, length))
            row = {"id": f"d{index}", "text": words, "year": 1900 + index, "side": "ab"[index % 2]}
            file.write(json.dumps(row) + "\n")
    return path


def ingested(path: Path, documents: Path, models: Sequence[Path], **cut: Any) -> Lake:
    """A new lake with the corpus ``c`` and a rowset of it for each model."""
    return fill(Lake.create(path), documents, models, **cut)


def fill(lake: Lake, documents: Path, models: Sequence[Path], **cut: Any) -> Lake:
    """``lake`` with the corpus ``c`` and a rowset of it for each model."""
    ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
    for model in models:
        ingest_tokens(lake, corpus="c", source=str(model), **cut)
    return lake


def learn(lake: Lake, model: Path, **options: Any) -> Lake:
    """A lake that is filled, with a tensor of ``model`` and its dictionary ``d``."""
    [tensor] = extract(lake, source=str(model), sites=["resid_post.1"], corpus="c", torch_threads=1)
    given: dict[str, Any] = {"k": 4, "n_features": 32, "steps": 30, "batch_rows": 64} | options
    train(lake, tensor=tensor, dictionary="d", torch_threads=1, **given)
    return lake


def payloads(lake: Lake) -> dict[str, str]:
    """Hash of every committed chunk of tensors and codes, by what it belongs to and its place."""
    owners = lake.sql("SELECT tensor, path FROM tensors UNION ALL SELECT codes, path FROM codes")
    return {
        f"{name}/{file.relative_to(lake.root / str(folder))}": hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for name, folder in owners.rows()
        for file in sorted((lake.root / str(folder)).rglob("c.*"))
    }


def state(lake: Lake) -> dict[str, Any]:
    """What a lake holds: rows of every table but ``runs``, names, pins, and files outside
    ``tables``."""
    with closing(Lake.open(lake.root)) as fresh:
        asked = fresh._connection()
        asked.begin()  # in one transaction DuckLake asks its catalog once
        tables: dict[str, Any] = {
            table: sorted(map(repr, asked.execute(f"SELECT * FROM {table}").fetchall()))
            for table in TABLES
            if table != "runs"
        }
        asked.end()
        tables |= {"names": fresh._claims.names(), "pins": fresh._claims.pins()}
    return tables | {"files": hashes(lake.root)}


def hashes(root: Path) -> dict[str, str]:
    """Hash of every file of a lake outside ``tables``."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(root)
    }


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts[0]
        if path.is_file() and inside != "tables" and not inside.startswith(("catalog", "claims")):
            yield path
