"""The lake that the documents' code blocks run on: names as `make demo` gives them, but tiny."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from actlake.flows.pipeline import pipeline
from actlake.storage.lake import Lake
from tests.flows.extraction.conftest import WORDS, config, toy_tokenizer

PIPELINE = """
[corpus]
name = "sotu"
[corpus.source]
path = "speeches.jsonl"
id = "id"

[[models]]
name = "smollm2"
source = "./model"
sites = ["resid_post.9"]
dtype = "float32"

[[models]]
name = "minilm"
source = "./other"
sites = ["resid_post.2"]
dtype = "float32"

[[dictionaries]]
name = "topk:smollm2:resid_post.9:2304"
tensor = "smollm2:resid_post.9"
method = "topk"
n_features = 64
k = 4
steps = 20
batch_rows = 64
mask = "not_first"

[[dictionaries]]
name = "topk:minilm:resid_post.2:1536"
tensor = "minilm:resid_post.2"
method = "topk"
n_features = 48
k = 4
steps = 20
batch_rows = 64
mask = "not_first"

[summary]
masks = ["not_first"]
"""


def build_documents_lake(folder: Path) -> None:
    """`demo-lake` in ``folder``, made by a pipeline with a random model of ten layers."""
    made = folder / "made-from"
    made.mkdir()
    torch.manual_seed(0)
    settings = config("llama")
    for name, layers in (("model", 10), ("other", 3)):
        settings.num_hidden_layers = layers
        AutoModel.from_config(settings).save_pretrained(made / name)
        toy_tokenizer(1, 1).save_pretrained(made / name)
    rng = np.random.default_rng(0)
    with (made / "speeches.jsonl").open("w", encoding="utf-8") as file:
        for index in range(60):
            row = {
                "id": f"speech-{index}",
                "text": " ".join(rng.choice(WORDS, 25)),
                "year": 1901 + index,
                "address": f"address {index}",
                "president": f"president {index // 5}",
            }
            file.write(json.dumps(row) + "\n")
    (made / "pipeline.toml").write_text(PIPELINE, "utf-8")
    lake = Lake.create(folder / "demo-lake")
    pipeline(lake, file=made / "pipeline.toml")
    lake.close()
