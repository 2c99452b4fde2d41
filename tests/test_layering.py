"""sql ← storage ← analytics ← flows: which folder may import what (docs/design.md)."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

SQL = {"actlake.sql"}
STORAGE = SQL | {
    "actlake.storage",
    "duckdb",
    "fsspec",
    "google_crc32c",
    "ml_dtypes",
    "numpy",
    "polars",
    "pyarrow",
    "safetensors",
    "sqlalchemy",
    "xxhash",
    "zarr",
}
ANALYTICS = STORAGE | {"actlake.analytics", "scipy", "sklearn", "statsmodels"}
FLOWS = ANALYTICS | {
    "actlake.flows",
    "click",
    "dask",
    "distributed",
    "fastapi",
    "jinja2",
    "matplotlib",
    "prefect",
    "prefect_dask",
    "pydantic",
    "rich",
}

# The folder or module that says most about a file decides.
MAY_IMPORT = {
    "sql": SQL,
    "storage": STORAGE,
    "analytics": ANALYTICS,
    "analytics/dictionaries": ANALYTICS | {"torch"},
    "flows": FLOWS,
    "flows/extraction": FLOWS | {"gguf", "huggingface_hub", "tokenizers", "torch", "transformers"},
}
# Inside functions and for types alone: what results are handed to, and a reader of lakes need
# not have.
MAY_IMPORT_LATE = {
    "flows/source_images.py": {"PIL"},
    "storage/adapters.py": {"dask", "torch"},
    "storage/bucket.py": {"obstore"},
    "storage/postgres_database.py": {"psycopg"},
    "storage/results.py": {"pandas"},
}

MODULES = sorted(
    file.relative_to(ROOT).as_posix()
    for layer in ("analytics", "flows", "sql", "storage")
    for file in (ROOT / layer).rglob("*.py")
)


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Each import of ``tree``: what it names, its line, and whether it is late.

    Late is inside a function or under `if TYPE_CHECKING`: not run when the module is imported. A
    member of the namespace counts as its layer, `actlake.storage`, anything else as its top-level
    name.
    """

    def walk(node: ast.AST, late: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    yield from ((alias.name, child.lineno, late) for alias in names)
                case ast.ImportFrom(module="actlake", names=names):
                    yield from ((f"actlake.{alias.name}", child.lineno, late) for alias in names)
                case ast.ImportFrom(module=module, level=level):
                    yield "." * level + (module or ""), child.lineno, late
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield from walk(child, late=True)
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
                    yield from walk(child, late=True)
                case _:
                    yield from walk(child, late)

    for name, line, late in walk(tree, late=False):
        parts = name.split(".")
        yield ".".join(parts[: 2 if parts[0] == "actlake" else 1]), line, late


def faults(module: str, source: str) -> list[str]:
    """What ``module``, a path from the root, imports and may not; one line each."""
    places = [place for place in MAY_IMPORT if module.startswith(f"{place}/")]
    allowed = MAY_IMPORT[max(places, key=len)]
    late_too = MAY_IMPORT_LATE.get(module, set())
    return [
        f"{module}:{line} imports {name or 'from its own folder by dots'}"
        for name, line, late in imports(ast.parse(source))
        if name not in sys.stdlib_module_names | allowed
        if not (late and name in late_too)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_module__imports_only_what_its_layer_may(module: str) -> None:
    assert faults(module, (ROOT / module).read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sql/__init__.py", "import numpy"),
        ("storage/lake.py", "from actlake.analytics.statistic import Moments"),
        ("storage/lake.py", "from actlake import flows"),
        ("storage/lake.py", "import actlake.flows.cli"),
        ("storage/lake.py", "def f():\n    import torch"),
        ("storage/lake.py", "from ..flows import cli"),
        ("storage/lake.py", "from . import csr"),
        ("storage/lake.py", "if TYPE_CHECKING:\n    import torch"),
        ("storage/adapters.py", "import torch"),
        ("storage/adapters.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch"),
        ("storage/results.py", "import pandas"),
        ("storage/adapters.py", "class A:\n    import dask.array"),
        ("storage/adapters.py", "def f():\n    import prefect"),
        ("analytics/features/density.py", "import torch"),
        ("analytics/dictionaries/topk.py", "from actlake.flows import train"),
        ("analytics/dictionaries/topk.py", "import transformers"),
        ("flows/train.py", "import torch"),
        ("flows/train.py", "import pickle_of_somebody"),
    ],
)
def test_faults__finds_a_planted_import(module: str, source: str) -> None:
    assert len(faults(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage/adapters.py", "def f():\n    import torch\n    from dask import array"),
        ("storage/results.py", "if TYPE_CHECKING:\n    import pandas as pd"),
        ("analytics/dictionaries/topk.py", "import torch.nn.functional as F"),
        ("flows/extraction/capture.py", "from transformers import AutoModel"),
        ("flows/train.py", "import os.path\nfrom actlake import storage\nimport actlake.sql"),
    ],
)
def test_faults__allows_what_the_layers_allow(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_third_parties__are_all_declared() -> None:
    """A plain `pip install actlake` brings what sql, storage and analytics need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    core = {distribution(line) for line in project["dependencies"]}
    extra = {distribution(line) for lines in extras.values() for line in lines}
    owners = packages_distributions()
    missing = set()
    for module in MODULES:
        known = core | extra if module.startswith("flows/") else core
        exempt = sys.stdlib_module_names | MAY_IMPORT_LATE.get(module, set())
        if module.startswith("analytics/dictionaries/"):
            exempt |= {"torch"}  # the extra `extract`
        for name, line, _ in imports(ast.parse((ROOT / module).read_text())):
            if name in exempt or name.startswith("actlake."):
                continue
            if not {distribution(owner) for owner in owners[name]} & known:
                missing.add(f"{module}:{line} {name}")
    assert missing == set()


def distribution(requirement: str) -> str:
    return Requirement(requirement).name.lower().replace("_", "-")


def test_reading_a_lake__loads_no_torch_dask_or_prefect() -> None:
    modules = [m.removesuffix(".py").replace("/", ".") for m in MODULES if m.startswith("storage/")]
    code = "import sys\n" + "".join(
        f"import actlake.{name.removesuffix('.__init__')}\n" for name in modules
    )
    code += "print(*{'torch', 'dask', 'prefect', 'transformers', 'sklearn'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("", "")
