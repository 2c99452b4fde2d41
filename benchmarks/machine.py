"""What a measurement depends on: the machine, the libraries, the file system, the day."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("actlake", "numpy", "torch", "transformers", "zarr", "duckdb", "pyarrow", "polars")
FSYNC = (
    "actlake flushes every chunk, its folder and every commit before it goes on; raw files are "
    "flushed too; zarr-python flushes nothing"
)


def machine_facts(folder: Path) -> dict[str, str]:
    """Names and values, for a reader who compares two runs; ``folder`` is where the files lie."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": _memory(),
        "load before": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "fsync": FSYNC,
        "cache": "files are read while the operating system still has them in memory",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _file_system(folder: Path) -> str:
    """Its type, where Linux tells it: on a tmpfs a flush costs nothing."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    types = {Path(place): kind for _, place, kind, *_ in map(str.split, mounts.open())}
    holding = [place for place in types if folder.resolve().is_relative_to(place)]
    return types[max(holding, key=lambda place: len(place.parts))] if holding else "unknown"
