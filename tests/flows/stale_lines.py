"""Lines that would do something, were what they name the same as when it was recorded."""

from collections.abc import Mapping

_TAKEN = "is taken: it was made from other inputs or settings; choose another name"

_EXTRACT = "extract {folder}/changed/tiny-llama --corpus c --site"
STALE: Mapping[str, Mapping[str, str]] = {
    "the weights of a model changed since its tensors": {
        f"{_EXTRACT} resid_post.0": f"the model name 'tiny-llama' {_TAKEN}",
        f"{_EXTRACT} resid_post.1": f"the tensor name 'tiny-llama:resid_post.1@c' {_TAKEN}",
    },
    "the tokenizer of a model changed since its rowset": {
        "extract {folder}/other/tiny-llama --corpus c --site resid_post.0": "another tokenizer",
        "ingest {folder}/good.jsonl --corpus new --model {folder}/other/tiny-llama": (
            "the tokenizer name 'tiny-llama' is taken"
        ),
    },
    "the documents of a source changed since its corpus": {
        "ingest {folder}/good.jsonl --corpus c": f"the corpus name 'c' {_TAKEN}",
    },
    "a tensor of another model": {
        "encode d --tensor alien@c": f"the codes name 'd@c' {_TAKEN}",
        "encode d --tensor wide@c": "rows of width 16 and tensor wide@c has 3; choose a tensor of",
        "train alien@c --dictionary d --features 8 -k 2": f"the dictionary name 'd' {_TAKEN}",
    },
    "other settings than those of the thing": {
        "train {tensor} --dictionary d --features 8 -k 2": f"the dictionary name 'd' {_TAKEN}",
    },
}
"""What has changed, and what is said."""
