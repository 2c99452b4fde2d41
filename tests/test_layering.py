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
ANALYTICS = STORAGE | {"actlake.analytics", "scipy", "sklearn"}
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
# Hands tensors to frameworks that a reader of lakes need not have.
MAY_IMPORT_INSIDE_FUNCTIONS = {"storage/adapters.py": {"dask", "torch"}}

MODULES = sorted(
    file.relative_to(ROOT).as_posix()
    for layer in ("analytics", "flows", "sql", "storage")
    for file in (ROOT / layer).rglob("*.py")
)


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Each import of ``tree``: what it names, its line, and whether it runs only in a function.

    Imports under `if TYPE_CHECKING` count too: a type is as much a dependency as a call. A member
    of the namespace counts as its layer, `actlake.storage`, anything else as its top-level name.
    """

    def walk(node: ast.AST, deferred: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, deferred) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                if child.module == "actlake":
                    yield from (
                        (f"actlake.{alias.name}", child.lineno, deferred) for alias in child.names
                    )
                else:
                    yield "." * child.level + (child.module or ""), child.lineno, deferred
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from walk(child, deferred or function)

    for name, line, deferred in walk(tree, deferred=False):
        parts = name.split(".")
        yield ".".join(parts[: 2 if parts[0] == "actlake" else 1]), line, deferred


def faults(module: str, source: str) -> list[str]:
    """What ``module``, a path from the root, imports and may not; one line each."""
    places = [place for place in MAY_IMPORT if module.startswith(f"{place}/")]
    allowed = MAY_IMPORT[max(places, key=len)]
    inside = MAY_IMPORT_INSIDE_FUNCTIONS.get(module, set())
    return [
        f"{module}:{line} imports {name or 'from its own folder by dots'}"
        for name, line, deferred in imports(ast.parse(source))
        if name not in sys.stdlib_module_names | allowed
        if not (deferred and name in inside)
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
    torch_and_dask = {"dask", "torch"}  # analytics/dictionaries, and inside functions of adapters
    owners = packages_distributions()
    missing = set()
    for module in MODULES:
        known = core | (extra if module.startswith("flows/") else torch_and_dask)
        for name, line, _ in imports(ast.parse((ROOT / module).read_text())):
            if name in sys.stdlib_module_names or name.startswith("actlake."):
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
