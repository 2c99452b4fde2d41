"""The loop of a peer's script: a question a line in, an answer a line out, both JSON.

Runs in the environment of the peers, where actlake is not installed.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

_SAID = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print, some as they are imported


def answer(sides: Mapping[str, Callable[..., float | None]]) -> None:
    """Do what each line of the input names, until there is none.

    A side gets the other fields of the line, and returns the seconds that count, or None for all
    that it took.
    """
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        started = time.perf_counter()
        counted = sides[asked.pop("do")](**asked)
        seconds = time.perf_counter() - started if counted is None else counted
        print(json.dumps({"seconds": seconds}), file=_SAID, flush=True)
