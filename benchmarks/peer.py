"""Other tools beside actlake: their scripts in ``peers``, run in an environment of their own."""

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.measure import Side

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
"""Made by ``make peers``."""


class Peer:
    """A script of ``peers``, which lives on between the rounds, so that none pays for imports."""

    def __init__(self, script: str, python: Path | None = None) -> None:
        self._command = [str(python or PYTHON), str(HERE / "peers" / script)]
        # A file, since progress bars would fill a pipe.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 # closed at the end
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def seconds(self, do: str, **what: Any) -> float:
        """Have the script do something; the seconds that it says that counted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **what}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = self._said.read().strip().splitlines()[-1:] or ["no word"]
            raise SystemExit(f"{' '.join(self._command)} ended: {last[0]}")
        return float(json.loads(line)["seconds"])

    def side(self, do: str, **what: Any) -> Side:
        """The same as a side of a case."""
        return lambda _: self.seconds(do, **what)


def installed() -> bool:
    """Whether there are peers to compare with."""
    return PYTHON.exists()
