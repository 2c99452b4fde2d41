"""The tables of a pipeline file. Keys carry the names of the parameters that they become.

`docs/pipeline.md` shows every key; a test holds it to these classes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from actlake.flows.sources import Source
from actlake.storage.shards import WIDTH_HINT

__all__ = [
    "Autoencoder",
    "Codes",
    "CodesSet",
    "Corpus",
    "Dictionary",
    "Documents",
    "Export",
    "Identity",
    "Mask",
    "Model",
    "Pca",
    "Random",
    "Summary",
    "Table",
]

Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A table of the file: known keys only, values of exactly their type."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Corpus(Table):
    """The documents to work on."""

    name: str
    """What the corpus is called in the lake."""
    source: Source
    """Where its documents come from: the table `[corpus.source]`."""
    width_hint: Count = WIDTH_HINT
    """Width of the widest tensor planned; shards get at most 64 MiB of it, and are at least 8."""


class Documents(Table):
    """Present: a rowset with one row a document, which pooled sites need."""


class Model(Table):
    """A model, how the corpus is cut for it, and the sites to keep."""

    name: str
    """What the model is called in the lake and in this file."""
    source: str
    """Hub id, directory, `.gguf` file, or `package:NAME/path`."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    trust_remote_code: bool = False
    """Run the Python that comes with the model."""
    window: Count | None = None
    """Tokens a forward pass sees; by default the smaller of 1,024 and the model's limit."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """Tokens that a window sees again of the one before."""
    windowing: Literal["document", "packed"] = "document"
    """Whether windows end with their document, or are cut from all documents joined."""
    rowset: str | None = None
    """Name of the token rowset."""
    rows: str | None = None
    """Mask of the only tokens to have rows, such as `no_special`, or one of `[[masks]]`."""
    sites: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where to read activations, such as `resid_post.9` or `pooled.mean`."""
    dtype: Literal["float16", "bfloat16", "float32", "int8"] = "float16"
    """How activations are stored."""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """How the model computes."""
    attention: str = "auto"
    """Attention implementation of transformers."""
    device: str = "auto"
    """`cpu`, `cuda`, `mps`, or the best of them."""
    token_budget: Count | None = None
    """Padded tokens in a forward pass; by default what suits the device."""
    compiled: bool = False
    """Have torch compile the model around its sites; worth it on long runs."""
    random_weights: Annotated[int, Field(ge=0)] | None = None
    """Seed of weights drawn anew, for an untrained twin to compare with; give `rowset`, too."""


class Mask(Table):
    """A condition over tokens that says which rows count."""

    name: str
    """What the mask is called, beside `all`, `no_special` and `not_first`, which are there."""
    predicate: str
    """SQL over the columns of `tokens`."""


class _OfTensor(Table):
    tensor: str
    """`model:site` of this file, or the full name of a tensor in the lake."""
    name: str | None = None
    """By default `method:model:site:n_features`."""
    mask: str = "no_special"
    """Rows to learn from and to be measured on."""
    baselines: bool = True
    """Also measure PCA and random directions on the same rows."""


class Autoencoder(_OfTensor):
    """A sparse autoencoder that keeps the largest codes."""

    method: Literal["topk", "batchtopk"]
    """The `k` largest of each row, or of the batch on average."""
    n_features: Count | None = None
    """By default four times the width of the tensor."""
    k: Count = 32
    """Features a row."""
    steps: Count = 2000
    """Batches to train on."""
    batch_rows: Count = 1024
    """Rows in a batch."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """By default 2e-4 / √(n_features / 2¹⁴)."""
    dead_after_rows: Count | None = None
    """Rows without firing that make a feature dead; by default a tenth of all trained on."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the initial atoms and the order of rows."""


class Random(_OfTensor):
    """Random directions, to compare with."""

    method: Literal["random"]
    """Unit vectors drawn at random."""
    n_features: Count | None = None
    """By default four times the width of the tensor."""
    k: Count = 32
    """Features a row."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the directions."""


class Pca(_OfTensor):
    """Principal axes, two features each: one for either sign."""

    method: Literal["pca"]
    """The axes of largest variance."""
    k: Count = 32
    """Features a row."""


class Identity(_OfTensor):
    """The tensor's own units as features, such as neurons."""

    method: Literal["identity"]
    """Feature j is unit j, with the value max(0, x)."""
    k: Count = 64
    """Largest positive units of each row that are kept."""


Dictionary = Annotated[Autoencoder | Random | Pca | Identity, Field(discriminator="method")]


class Codes(Table):
    """A dictionary to encode over a tensor, in place of each over the tensor that it is from."""

    dictionary: str
    """Name in this file, or the full name of one in the lake."""
    tensor: str | None = None
    """As in `[[dictionaries]]`; by default the tensor that the dictionary is from."""
    name: str | None = None
    """By default `dictionary@corpus`."""
    dtype: Literal["float16", "float32"] = "float16"
    """How values are stored."""


class Summary(Table):
    """Present: statistics of every feature."""

    masks: Annotated[tuple[str, ...], Field(min_length=1)] = ("no_special",)
    """Rows to count, one summary for each; codes of documents are counted under `all`."""
    examples: Count = 20
    """Strongest rows to keep of each feature."""
    tokens: Count = 20
    """Tokens to keep of each feature, by count, by lift and by mean."""
    source: str | None = None
    """Label of documents, such as their author, to say over which sources a feature fires."""
    weights: bool = False
    """Also what weights say of each feature, and its effects on logits."""
    token_sets: str | None = None
    """File of token sets to look for in those effects, as `summarize --token-sets` takes it."""
    pairs: tuple[Literal["token", "document"], ...] = ()
    """Levels at which to count which features fire together; codes of documents: `document`."""
    labels: tuple[str, ...] = ()
    """Labels of documents or spans, of up to 50 values each, to score every feature against."""
    subset_by: str | None = None
    """Another label: the same again within the documents of each of its values."""
    records: tuple[str, ...] | None = None
    """Codes that weights, pairs and labels are told of, and `[[sets]]` by name; or all codes."""


class CodesSet(Table):
    """Codes of one dictionary over several corpora, which `[summary]` also tells of together."""

    name: str
    """What the set is called where tables name codes."""
    codes: Annotated[tuple[str, ...], Field(min_length=1)]
    """A dictionary's name in this file, or full names of codes that earlier files made."""


class Comparison(Table):
    """Two codes whose features are matched, or two tensors that are compared."""

    a: str
    """`model:site` or a dictionary's name in this file, or the full name of a tensor or codes."""
    b: str
    """The same of the other."""
    mask: str = "no_special"
    """Rows of both that count; documents are compared under `all`."""
    min_fires: Annotated[int, Field(ge=2)] = 20
    """Units that a feature must fire on to be matched."""
    permutations: Count | None = None
    """Of documents, for the null: by default 20 for codes, 99 for tensors."""
    most_rows: Annotated[int, Field(ge=100)] | None = None
    """Rows to compare, of documents drawn: by default 1,000,000 of codes, 8,192 of tensors."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the rows drawn and the permutations."""


class Hypotheses(Table):
    """A label that features may go with, tested on groups that were held out."""

    codes: str
    """A dictionary's name in this file, or the full name of codes."""
    target: str
    """Label of the documents."""
    level: str | None = None
    """Class of the label, against all others; needed where there are more than two."""
    group: str
    """Label whose values stay on one side of the split."""
    unit: str | None = None
    """Finer label over whose values the target is permuted."""
    mask: str = "no_special"
    """Rows that are pooled."""
    pooling: Literal["max", "mean", "sum", "any"] = "max"
    """How the rows of a document become one value."""
    top: Count = 20
    """Features to select, by each of two screens."""
    min_documents: Annotated[int, Field(ge=2)] = 10
    """Documents of train that a feature must fire in."""
    draws: Annotated[int, Field(ge=19)] = 9999
    """Permutations of the target."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the split and the permutations."""


class Export(Table):
    """Present: tables, plots, a page of features and a report as files."""

    folder: str | None = None
    """By default `export` in the lake."""
    features: Count = 20
    """Features on the page."""
