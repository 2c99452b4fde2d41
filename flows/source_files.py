"""The files that a corpus is read from, and what each is by its suffix."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Literal, NoReturn, get_args

from actlake.flows.packages import PACKAGE, in_package
from actlake.storage.errors import CorpusError

__all__ = ["FORMATS", "Format", "SourceFile", "find_files", "nearest"]

Format = Literal["text", "jsonl", "csv", "tsv", "parquet", "arrow", "image", "array"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    **dict.fromkeys((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"), "image"),
    ".npy": "array",
}
_COMPRESSED = {".bz2", ".gz", ".zst"}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source."""

    path: Path
    format: Format
    name: str
    """Path below the folder of the source, without the suffix where it is unique without; of
    images with it."""


def find_files(place: str, format: Format | None = None) -> list[SourceFile]:
    """The files that ``place`` names, ordered by their paths.

    A file, a glob, ``package:NAME/path``, a folder saved by Hugging Face datasets, or any other
    folder: then its files of a known format, at any depth. Hidden files are left out. Raises
    CorpusError if there are none, if their formats differ, or if a format is not known.
    """
    try:
        path = Path(place).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, no such user
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(
            f"{place!r} is no path: {reason}; check the path of the source"
        ) from error
    if place.startswith(PACKAGE):
        path = in_package(place, CorpusError)
    if path.is_file():
        root, paths = path.parent, [path]
    elif path.is_dir():
        root, paths = path, _in_folder(path, format)
    elif any(set("*?[") & set(part) for part in path.parts):
        root, paths = _matching(path)
    else:
        raise CorpusError(f"no file or folder {place}{_beside(path)}; check the path of the source")
    if not paths:
        wanted = "files" if format is None or not path.is_dir() else f"{format} files"
        raise CorpusError(
            f"no {wanted} found at {place}; give a file, a folder with files such as "
            ".txt, .jsonl, .csv, .parquet, .arrow or .png, or a glob and a format"
        )
    relative = sorted(file.relative_to(root) for file in paths)
    formats = [format or _known_format(root / file) for file in relative]
    if len(set(formats)) > 1:
        raise CorpusError(
            f"{place} holds files of the formats {', '.join(sorted(set(formats)))}; set format to "
            "one of them, or give a glob that matches one kind"
        )
    names = [_stem(file) for file in relative]
    if len(set(names)) < len(names) or formats[0] in ("image", "array"):
        names = [file.as_posix() for file in relative]
    return [
        SourceFile(root / file, formats[0], name)
        for file, name in zip(relative, names, strict=True)
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown ``name``: what is near it, or all there is."""
    names = [str(one) for one in known]
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(one) for one in near)}"
    shown = ", ".join(repr(one) for one in names[:20]) + (", …" if len(names) > 20 else "")
    return f"there is {shown or 'none'}"


def _in_folder(folder: Path, format: Format | None) -> list[Path]:
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        known = ", ".join(sorted(path.parent.name for path in folder.glob("*/state.json")))
        raise CorpusError(f"{folder} holds several splits; give one of its folders: {known}")
    state = folder / "state.json"
    if state.is_file():
        try:
            saved = json.loads(state.read_bytes())["_data_files"]
            return [folder / PurePath(one["filename"]).name for one in saved]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorpusError(f"{state} is not of a saved dataset; give a glob instead") from error
    return [
        path
        for path in _visible(_below(folder), folder)
        if _format(path) is not None and format in (None, _format(path))
    ]


def _below(folder: Path) -> Iterator[Path]:
    """The files at any depth; CorpusError for a folder that may not be read, which globs skip."""
    for place, folders, names in os.walk(folder, onerror=_refuse_locked):
        folders[:] = [one for one in folders if not one.startswith(".")]
        yield from (Path(place, name) for name in names)


def _refuse_locked(error: OSError) -> NoReturn:
    raise CorpusError(
        f"{error.filename} cannot be read: {error.strerror}; check who may use it"
    ) from error


def _matching(pattern: Path) -> tuple[Path, list[Path]]:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if set("*?[") & set(part))
    root = Path(*parts[:fixed])
    return root, _visible(root.glob("/".join(parts[fixed:])), root)


def _visible(paths: Iterable[Path], root: Path) -> list[Path]:
    return [
        path
        for path in paths
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]


def _beside(path: Path) -> str:
    parent = path.parent
    siblings = [one.name for one in parent.iterdir()] if parent.is_dir() else []
    near = get_close_matches(path.name, siblings, n=3)
    return f" (there is {', '.join(near)})" if near else ""


def _bare(file: PurePath) -> PurePath:
    return file.with_suffix("") if file.suffix.lower() in _COMPRESSED else file


def _format(file: PurePath) -> Format | None:
    return _SUFFIXES.get(_bare(file).suffix.lower())


def _known_format(file: Path) -> Format:
    found = _format(file)
    if found is None:
        raise CorpusError(
            f"the format of {file} is not known by its suffix; set format to one of "
            f"{', '.join(FORMATS)}"
        )
    return found


def _stem(file: PurePath) -> str:
    bare = _bare(file)
    return (bare.with_suffix("") if bare.suffix.lower() in _SUFFIXES else bare).as_posix()
