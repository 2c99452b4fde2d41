"""The objects of one lake in an S3 bucket, by the requests that a lake needs of them.

Every request is tried again where it may go better: once, and on for about as long as one may take
(``ACTLAKE_STORE_SECONDS``, 60 by default: 64 MiB then need 1 MB/s); what then fails is an
UnreachableError that names the object. Where, and as whom, is said by the environment variables
that other tools use: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
``AWS_REGION`` and, for a server that is not Amazon's, ``AWS_ENDPOINT_URL``. They are read when the
lake is opened and kept in memory alone.

An object is one PUT, of at most 5 GiB, and is held in memory while it is sent. obstore's runtime
does not outlive a fork: open a lake in the process that uses it.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from actlake.storage.errors import DiskError, InputError, LakeError, UnreachableError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config, S3Store

__all__ = ["URL", "Access", "Bucket", "Found", "access"]

T = TypeVar("T")
URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)/?")
LARGEST_BYTES = 5 << 30
PIECE_BYTES = 1 << 20
AGAIN = frozenset((408, 409, 425, 429))
"""Of the answers that blame the request, those that another one may not get."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where an S3 server is, and as whom it is asked; never written anywhere."""

    endpoint: str
    """Empty for Amazon's own."""
    region: str
    key: str
    secret: str
    token: str
    seconds: float
    """That one request may take."""

    def __repr__(self) -> str:
        return f"Access({self.endpoint!r}, {self.region!r})"


@dataclass(frozen=True, slots=True)
class Found:
    """An object."""

    key: str
    bytes: int
    written: datetime
    """UTC, in whole seconds."""


def access(url: str) -> Access:
    """What the environment says; UnreachableError if it holds no credentials."""
    said = os.environ.get
    key, secret = said("AWS_ACCESS_KEY_ID", ""), said("AWS_SECRET_ACCESS_KEY", "")
    if not (key and secret):
        raise UnreachableError(
            f"{url} needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
            "AWS_ENDPOINT_URL where the server is not Amazon's"
        )
    try:
        seconds = float(said("ACTLAKE_STORE_SECONDS", "60"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise InputError("ACTLAKE_STORE_SECONDS is no number of seconds; set one, such as 60")
    return Access(
        endpoint=said("AWS_ENDPOINT_URL_S3") or said("AWS_ENDPOINT_URL", ""),
        region=said("AWS_REGION") or said("AWS_DEFAULT_REGION") or "us-east-1",
        key=key,
        secret=secret,
        token=said("AWS_SESSION_TOKEN", ""),
        seconds=seconds,
    )


class Bucket:
    """The objects below ``url``; keys are relative to it."""

    def __init__(self, url: str, access: Access) -> None:
        if find_spec("obstore") is None:
            raise LakeError(f"{url} needs obstore; run `pip install 'actlake[s3]'`")
        self.url = url
        self._access = access

    @cached_property
    def _store(self) -> "S3Store":
        from obstore.store import S3Store

        match = URL.fullmatch(self.url)
        bucket, prefix = match.groups() if match else ("", "")
        given = self._access
        more: S3Config = {}
        if given.endpoint:
            more["endpoint"] = given.endpoint
        if given.token:
            more["session_token"] = given.token
        return S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            access_key_id=given.key,
            secret_access_key=given.secret,
            region=given.region,
            virtual_hosted_style_request=not given.endpoint,
            client_options={
                "timeout": f"{given.seconds:g}s",
                "connect_timeout": f"{min(10.0, given.seconds):g}s",
                "allow_http": given.endpoint.startswith("http://"),
            },
            retry_config={"max_retries": 0},  # here, where it is known what was tried before
            config=more,
        )

    def pieces(self, key: str) -> Iterator[bytes]:
        """The content of an object; FileNotFoundError if there is none.

        What breaks off is taken up where it did.
        """
        import obstore

        size, at = None, 0
        started, attempt = time.monotonic(), 0
        while size is None or at < size:
            options = {"range": {"offset": at}} if at else {}
            found = self._insist(key, lambda o=options: obstore.get(self._store, key, options=o))  # type: ignore[misc]
            size = found.meta["size"]
            try:
                for piece in found.stream(min_chunk_size=PIECE_BYTES):
                    at += len(piece)
                    yield bytes(piece)
            except obstore.exceptions.BaseError as error:
                attempt = self._again(key, error, started, attempt)

    def head(self, key: str) -> Found | None:
        """What an object is, None if there is none."""
        import obstore

        try:
            return _found(self._insist(key, lambda: obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    def below(self, prefix: str) -> Iterator[Found]:
        """Every object in the folder ``prefix``, at any depth."""
        import obstore

        last, started, attempt = None, time.monotonic(), 0
        while True:
            try:
                for page in obstore.list(
                    self._store, prefix=prefix or None, offset=last, chunk_size=1000
                ):
                    yield from map(_found, page)
                    last, started = page[-1]["path"], time.monotonic()
                return
            except obstore.exceptions.BaseError as error:  # which ends the listing
                attempt = self._again(prefix, error, started, attempt)

    def at(self, key: str) -> Iterator[Found]:
        """Every object in the folder ``key``, or the object of that key."""
        asked = "." in key.rpartition("/")[2]  # as in the names of files, and in none of folders
        if asked and (found := self.head(key)):
            yield found
            return
        nothing = True
        for one in self.below(key):
            nothing = False
            yield one
        if nothing and not asked and (found := self.head(key)):
            yield found

    def children(self, folder: str) -> list[str]:
        """Keys of the objects, and of the folders, right in ``folder``."""
        import obstore

        found = self._insist(folder, lambda: obstore.list_with_delimiter(self._store, folder))
        return sorted([*found["common_prefixes"], *(one["path"] for one in found["objects"])])

    def create(self, key: str, content: bytes) -> None:
        """Put a new object; FileExistsError if there is one.

        One with the same content that an attempt of this very call may have made is that one.
        """
        import obstore

        tried = 0

        def put() -> None:
            nonlocal tried
            tried += 1
            obstore.put(self._store, key, content, mode="create", use_multipart=False)

        self._check_size(key, content)
        try:
            self._insist(key, put)
        except FileExistsError:
            if tried == 1 or b"".join(self.pieces(key)) != content:
                raise
        except FileNotFoundError:  # a bucket that is gone; some servers say no more
            raise self._fault(key, "NoSuchBucket") from None

    def put(self, key: str, content: bytes) -> None:
        """Put an object, whatever was there."""
        import obstore

        self._check_size(key, content)
        try:
            self._insist(key, lambda: obstore.put(self._store, key, content, use_multipart=False))
        except FileNotFoundError:  # a bucket that is gone; some servers say no more
            raise self._fault(key, "NoSuchBucket") from None

    def copy(self, key: str, new: str) -> None:
        """Make ``new`` the same object, on the server."""
        import obstore

        self._insist(key, lambda: obstore.copy(self._store, key, new))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        import obstore

        for at in range(0, len(keys), 1000):
            some = list(keys[at : at + 1000])
            self._insist(some[0], lambda some=some: obstore.delete(self._store, some))  # type: ignore[misc]

    def _check_size(self, key: str, content: bytes) -> None:
        if len(content) > LARGEST_BYTES:
            raise DiskError(
                f"{self.url}/{key} would have {len(content):,} bytes, and an object is one PUT of "
                f"at most {LARGEST_BYTES:,}; keep this lake in a folder, or make it smaller"
            )

    def _insist(self, key: str, work: Callable[[], T]) -> T:
        """``work()``, again while it may go better."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        started, attempt = time.monotonic(), 0
        while True:
            try:
                return work()
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise self._fault(key, _said(error)) from None
                raise FileNotFoundError(2, "no such object", f"{self.url}/{key}") from None
            except BaseError as error:
                if isinstance(error, AlreadyExistsError) and _status(error) == 412:
                    raise FileExistsError(17, "object exists", f"{self.url}/{key}") from None
                attempt = self._again(key, error, started, attempt)

    def _again(self, key: str, error: Exception, started: float, attempt: int) -> int:
        """Wait until the request may be tried again; UnreachableError if it may not."""
        status = _status(error)
        final = 400 <= status < 500 and status not in AGAIN
        wait = random.uniform(0.5, 1.0) * 0.1 * 2**attempt  # noqa: S311 - jitter
        if final or (attempt and time.monotonic() + wait - started > self._access.seconds):
            # Without obstore's own, whose text goes on for pages.
            raise self._fault(key, _said(error)) from None
        time.sleep(wait)
        return attempt + 1

    def _fault(self, key: str, said: str) -> UnreachableError:
        place = f"{self.url}/{key}".rstrip("/")
        if "NoSuchBucket" in said:
            return UnreachableError(
                f"{place}: there is no such bucket ({said}); make it, or correct lake.toml and "
                "AWS_ENDPOINT_URL"
            )
        if said[:3] in ("401", "403"):
            return UnreachableError(
                f"{place} is refused to us ({said}); set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY of who may read and write there"
            )
        return UnreachableError(
            f"{place} cannot be had ({said}); see that {self._access.endpoint or 'S3'} runs and "
            "can be reached from here, then run this again"
        )


def _found(one: "ObjectMeta") -> Found:
    written = one["last_modified"].astimezone(UTC).replace(tzinfo=None)
    return Found(one["path"], one["size"], written)


def _status(error: Exception) -> int:
    """The status of the answer; 0 if there was none."""
    found = re.search(r"status code: (\d{3})", str(error))
    return int(found[1]) if found else 0


def _said(error: Exception) -> str:
    """What went wrong, in a few words and without what the server quotes of the request."""
    text = str(error)
    if status := re.search(r"status code: (\d{3}[A-Za-z -]*)", text):
        code = re.search(r"<Code>(\w{1,60})</Code>", text)
        return status[1].strip() + (f", {code[1]}" if code else "")
    kind = re.search(r"kind: (Connect|Timeout|Interrupted|Request|Decode)", text)
    words = {"Connect": "no connection", "Timeout": "no answer in time", "Interrupted": "broke off"}
    return words.get(kind[1], "the request failed") if kind else "the request failed"
