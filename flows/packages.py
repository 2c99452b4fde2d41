"""Files inside installed Python packages: ``package:NAME/relative/path``."""

from importlib.util import find_spec
from pathlib import Path

from actlake.storage.errors import InputError

__all__ = ["PACKAGE", "in_package"]

PACKAGE = "package:"


def in_package(source: str, error: type[InputError] = InputError) -> Path:
    """The path that ``package:NAME/relative/path`` names, in the folder of an installed package.

    Nothing has to exist there, and the last parts may be a glob; the package is not imported.
    Raises ``error`` for a package that is not installed and a path that leaves it.
    """
    package, _, rest = source.removeprefix(PACKAGE).partition("/")
    folders = _folders(package)
    if not folders:
        raise error(
            f"no Python package {package!r} for {source}; install the package that carries it, "
            "or give a path"
        )
    for folder in folders:
        if not Path(folder, rest).resolve().is_relative_to(folder):
            raise error(f"{source} leaves its package; give a path inside {package}")
    paths = [folder / rest for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])


def _folders(package: str) -> list[Path]:
    if not package.isidentifier():
        return []
    try:
        found = find_spec(package)
    except ValueError:  # a module that was made without a spec, such as __main__
        return []
    places = found.submodule_search_locations if found else None
    return [Path(place).resolve() for place in places or ()]
