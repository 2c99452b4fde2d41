"""A page as a browser shows it: headless Chromium, asked over its debugging protocol."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
START_SECONDS = 60.0


@dataclass
class Page:
    """What a page did while it was opened, and a way to ask it more."""

    _socket: Connection
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, exceptions, and dialogs."""
    requested: list[str] = field(default_factory=list)
    """Addresses that were fetched, those inside the page (data:) left out."""
    _number: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one call of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=START_SECONDS))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._notice(answer)

    def evaluate(self, script: str) -> Any:
        """What a script of ours, not of the page, finds in it."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _notice(self, event: dict[str, Any]) -> None:
        method, facts = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.complaints.append(facts["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning"):
            self.complaints.append(str(facts["args"]))
        elif method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
            self.complaints.append(str(facts))
        elif method == "Network.requestWillBeSent":
            url = facts["request"]["url"]
            if not url.startswith("data:"):
                self.requested.append(url)


@contextmanager
def opened(page: Path, profile: Path) -> Iterator[Page]:
    """``page`` in a browser with an empty ``profile`` folder, which ends with the block."""
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port, path = _address(profile / "DevToolsActivePort")
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=30) as browser:
            targets = Page(browser).call("Target.getTargets")["targetInfos"]
            [target] = [one["targetId"] for one in targets if one["type"] == "page"]
        url = f"ws://127.0.0.1:{port}/devtools/page/{target}"
        with connect(url, max_size=None, open_timeout=30) as socket:
            shown = Page(socket)
            for domain in ("Log", "Runtime", "Network", "Page"):
                shown.call(f"{domain}.enable")
            shown.call("Page.navigate", url=page.as_uri())
            _wait(lambda: shown.evaluate("document.readyState") == "complete")
            yield shown
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(file: Path) -> tuple[int, str]:
    """Where the browser listens, once it has written it down."""
    _wait(lambda: file.exists() and file.read_text().count("\n") >= 1)
    port, path = file.read_text().splitlines()[:2]
    return int(port), path


def _wait(until: Any) -> None:
    started = time.monotonic()
    while not until():
        assert time.monotonic() - started < START_SECONDS, "the browser does not answer"
        time.sleep(0.1)
