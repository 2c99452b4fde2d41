"""An S3 server of the tests' own, moto's, and a way to it on which things go wrong.

``ACTLAKE_TEST_S3``, ``s3://bucket/prefix``, names a place of another server to use, with the
credentials, and the endpoint, that the environment has.
"""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from uuid import uuid4

from actlake.storage.bucket import Bucket, access
from actlake.storage.claims import Claims
from actlake.storage.databases import database_at
from actlake.storage.durable import digest
from actlake.storage.settings import read_settings

__all__ = ["CREDENTIALS", "FaultyWay", "Objects", "fork_objects", "running_s3"]

SECONDS = 30.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-tests"}


@dataclass(frozen=True)
class Objects:
    """A bucket."""

    base: str
    """``s3://bucket``, or a folder in one."""
    endpoint: str

    def place(self) -> str:
        """A place where nothing is."""
        return f"{self.base}/t{uuid4().hex[:12]}"


def fork_objects(source: Path, target: Path, objects: Objects) -> Path:
    """``target``, the copied folder of the closed lake ``source``, with objects of its own."""
    settings = read_settings(target)
    old, new = settings.store.url, objects.place()
    bucket = Bucket(old, access(old))
    copies = Bucket(new, access(new))
    for one in bucket.below(""):
        copies.create(one.key, b"".join(bucket.pieces(one.key)))
    file = target / "lake.toml"
    file.write_text(file.read_text().replace(old, new))
    database = database_at(target, settings.catalog)
    Claims(database).record_files({"lake.toml": digest(file)})
    for folder in ("tables", "tensors", "codes", "rowsets", "dictionaries", "partials"):
        shutil.rmtree(target / folder)  # copies, which others would have to fetch
        (target / folder).mkdir()
    return target


@contextmanager
def running_s3() -> Iterator[Objects]:
    """The bucket that the environment names, else one of a server that ends with the block."""
    given = os.environ.get("ACTLAKE_TEST_S3")
    if given is not None:
        yield Objects(given.rstrip("/"), os.environ.get("AWS_ENDPOINT_URL", ""))
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    before = {name: os.environ.get(name) for name in (*CREDENTIALS, "AWS_ENDPOINT_URL")}
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _make_bucket(server, f"{endpoint}/lakes")
        os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=endpoint)
        yield Objects("s3://lakes", endpoint)
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _make_bucket(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            request = urllib.request.Request(url, method="PUT")
            urllib.request.urlopen(request).close()
            return
        except URLError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


class FaultyWay:
    """A server in front of ``endpoint`` that passes on what it is not told to spoil.

    ``spoil(method, path)`` says what becomes of a request: None lets it pass, a number is the
    status of the answer, ``lost`` is passed on and never answered, ``cut`` is answered with half
    of the content, ``hang`` neither passed on nor answered, ``blind`` without its condition.
    """

    def __init__(self, endpoint: str) -> None:
        self.spoil: Callable[[str, str], int | str | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self._ended = threading.Event()
        way, target = self, endpoint.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer is one packet

            def log_message(self, *args: object) -> None:
                pass

            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                way.seen.append((self.command, self.path))
                what = way.spoil(self.command, self.path)
                if isinstance(what, int):
                    self.reply(what, {}, b"<Error><Code>Spoilt</Code></Error>")
                    return
                if what == "hang":
                    way._ended.wait()
                    self.close_connection = True
                    return
                passed = http.client.HTTPConnection(target)
                headers = dict(self.headers.items())
                if what == "blind":
                    headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
                passed.request(self.command, self.path, content, headers)
                found = passed.getresponse()
                body = found.read()
                passed.close()
                if what == "lost":
                    self.close_connection = True
                    return
                self.reply(found.status, dict(found.getheaders()), body, cut=what == "cut")

            def reply(
                self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
            ) -> None:
                self.send_response(status)
                size = headers.get("Content-Length", str(len(body)))
                kept = {
                    name: value
                    for name, value in headers.items()
                    if name.lower()
                    not in ("content-length", "connection", "server", "date", "transfer-encoding")
                }
                for name, value in {**kept, "Content-Length": size}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection |= cut

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
