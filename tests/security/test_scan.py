"""Nothing in the codebase runs what it reads: no pickle, no eval, no YAML tags."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("sql", "storage", "analytics", "flows", "benchmarks")
MODULES = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"),
    *("jsonpickle", "pandas.io.pickle", "code", "codeop"),
}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("read_pickle", "to_pickle", "save_pickle", "yaml.load", "yaml.unsafe_load"),
    *("yaml.full_load", "os.system", "os.popen", "numpy.fromregex"),
}
"""By the whole name, or by its last part where it has one part here."""


def faults(source: str) -> Iterator[str]:
    """What in a module would run, or unpickle, what somebody wrote."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if _forbidden(one.name))
            case ast.ImportFrom(module=str(module)) if _forbidden(module):
                yield module
            case ast.Call(func=function, keywords=keywords):
                yield from _faults_of_call(ast.unparse(function), keywords)


def _forbidden(module: str) -> bool:
    return module in MODULES or module.partition(".")[0] in MODULES


def _faults_of_call(name: str, keywords: list[ast.keyword]) -> Iterator[str]:
    given = {one.arg: ast.unparse(one.value) for one in keywords}
    last = name.rpartition(".")[2]
    if name in CALLS or (last in CALLS and last not in ("compile", "eval")):
        yield name
    if given.get("allow_pickle", "False") != "False":
        yield f"{name}(allow_pickle)"
    if name.endswith("torch.load") and given.get("weights_only") != "True":
        yield f"{name} without weights_only=True"
    if given.get("shell", "False") != "False":
        yield f"{name}(shell)"
    remote = given.get("trust_remote_code", "False")
    if remote == "True":
        yield f"{name}(trust_remote_code=True)"


def test_code__runs_nothing_that_it_reads() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    found = {
        str(path.relative_to(ROOT)): told
        for path in files
        if (told := [*faults(path.read_text("utf-8"))])
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from joblib import load",
        "import joblib.numpy_pickle",
        "def f():\n    import marshal",
        "from shelve import open",
        "eval('1')",
        "exec(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "pd.read_pickle(path)",
        "subprocess.run(line, shell=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_scan__sees(source: str) -> None:
    assert [*faults(source)]


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "torch.load(path, weights_only=True)",
        "re.compile('x')",
        "yaml.safe_load(text)",
        "model.eval()",
        "AutoModel.from_pretrained(path, trust_remote_code=facts.trust_remote_code)",
    ],
)
def test_scan__lets_pass(source: str) -> None:
    assert not [*faults(source)]
