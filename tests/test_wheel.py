"""What `pip install actlake` delivers is what git holds."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("analytics", "flows", "sql", "storage")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git clone"),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what git holds or would hold after `git add`.

    A copy, because setuptools ships what an earlier build left in `build/`.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    command += ["pyproject.toml", "README.md", "LICENSE", *LAYERS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    copy = tmp_path / "source"
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


def in_source(source: Path) -> set[str]:
    """Every file of the four layers but Markdown, which is for readers of the repository."""
    files = (file for layer in LAYERS for file in (source / layer).rglob("*") if file.is_file())
    return {file.relative_to(source).as_posix() for file in files if file.suffix != ".md"}


def in_wheel(source: Path) -> set[str]:
    """Every file of a wheel built from ``source``, less its metadata and the prefix actlake/."""
    wheels = source.parent / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = wheels.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    return {name.removeprefix("actlake/") for name in names}


def test_wheel__holds_every_file_of_the_layers_and_nothing_else(source: Path) -> None:
    expected = in_source(source)
    assert {f"{layer}/py.typed" for layer in LAYERS} <= expected
    assert any(name.endswith(".sql") for name in expected)

    missing, foreign = expected - (found := in_wheel(source)), found - expected

    assert (missing, foreign) == (set(), set()), "list the folder or the suffix in pyproject.toml"


def test_wheel__lacks_a_folder_that_is_not_listed(source: Path) -> None:
    """The comparison above can fail: what nobody listed is what the wheel is without."""
    planted = {"analytics/planted/__init__.py", "sql/planted/query.sql", "storage/planted.json"}
    for name in planted:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()

    assert in_source(source) - in_wheel(source) == planted
