"""A hub id becomes a directory; the hub is a server on loopback that speaks its protocol."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from actlake.flows.extraction import sources
from actlake.flows.extraction.models import ModelFacts, inspect_model, load_model
from actlake.storage.errors import ModelError

WANTED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


class Hub:
    """A hub with one model, org/tiny, that speaks as much of the protocol as a download needs."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.revisions: dict[str, str] = {}
        self.asked: list[str] = []
        self.loss = ""
        self.closed = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def answer(self) -> None:
                if hub.loss == "silent":
                    hub.closed.wait(30)
                if hub.loss in ("silent", "cut"):
                    return
                parts = [unquote(part) for part in urlsplit(self.path).path[1:].split("/")]
                status, headers, body = hub.answer(parts)
                if hub.loss == "captive":
                    body = b"<html>Please log in</html>"
                self.send_response(503 if hub.loss == "unwell" else status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            do_GET = do_HEAD = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def commit(self, folder: Path, revision: str = "main") -> str:
        """The commit that ``revision`` names from now on, of the files in ``folder``."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        sha = hashlib.sha1(repr(files).encode()).hexdigest()
        self.commits[sha], self.revisions[revision] = files, sha
        return sha

    def answer(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body)"""
        told: object
        match parts:
            case ["api", "models", "org", "gated", *_]:
                return 403, {"X-Error-Code": "GatedRepo"}, b""
            case ["api", "models", "org", "tiny", "revision", name] if name in self.revisions:
                sha = self.revisions[name]
                siblings = [{"rfilename": file} for file in self.commits[sha]]
                told = {"id": "org/tiny", "sha": sha, "siblings": siblings}
            case ["api", "models", "org", "tiny", "tree", sha]:
                told = [
                    {"type": "file", "path": file, "size": len(content), "oid": "of git"}
                    for file, content in self.commits[sha].items()
                ]
            case ["org", "tiny", "resolve", sha, *path]:
                file = "/".join(path)
                self.asked.append(file)
                content = self.commits[sha][file]
                etag = hashlib.sha1(content).hexdigest()
                return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": sha}, content
            case _:
                missing = "RevisionNotFound" if "tiny" in parts else "RepoNotFound"
                return 404, {"X-Error-Code": missing}, b""
        return 200, {}, json.dumps(told).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that huggingface_hub asks, from an empty cache and without anybody's token."""
    hub = Hub()
    url = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    yield hub
    hub.close()


def of_hub(folder: Path, facts: ModelFacts) -> ModelFacts:
    """What ``facts`` of the model in ``folder`` should be, by its files and its commit alone."""
    local = inspect_model(str(folder), revision=facts.revision)
    return replace(local, name="tiny", tokenizer="tiny", source="org/tiny", path=facts.path)


def same_weights(model: ModelFacts | str, folder: Path) -> bool:
    found, right = (load_model(each).module.state_dict() for each in (model, str(folder)))
    return [*found] == [*right] and all(torch.equal(found[name], right[name]) for name in right)


def test_hub_id__is_the_model_of_its_files(hub: Hub, folder: Path) -> None:
    commit = hub.commit(folder)
    facts = inspect_model("org/tiny")
    assert (facts.name, facts.revision, facts.layers, facts.width) == ("tiny", commit, 3, 16)
    assert facts == of_hub(folder, facts)
    assert same_weights("org/tiny", folder)


def test_revision__is_resolved_to_its_commit(hub: Hub, folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["norm.weight"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    first, second = hub.commit(folder), hub.commit(other, "refs/pr/1")

    facts = inspect_model("org/tiny", revision="refs/pr/1")
    assert facts.revision == second != first
    assert facts == inspect_model("org/tiny", revision=second) == of_hub(other, facts)
    assert facts.fingerprint != inspect_model("org/tiny").fingerprint
    assert same_weights(facts, other)
    assert not same_weights(facts, folder)

    hub.revisions["main"] = second
    assert inspect_model("org/tiny") == facts


def test_download__is_of_what_a_model_needs(hub: Hub, folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "onnx").mkdir()
    for name in ("README.md", "consolidated.safetensors", "onnx/model.onnx", "onnx/extra.model"):
        (folder / name).write_text("large")
    hub.commit(folder)

    facts = inspect_model("org/tiny")
    assert set(hub.asked) == WANTED == {path.name for path in facts.path.iterdir()}
    hub.asked.clear()
    assert inspect_model("org/tiny") == facts
    assert hub.asked == []


def test_weights_of_torch__are_downloaded_where_there_are_no_others(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    torch.save(load_file(bare / "model.safetensors"), bare / "pytorch_model.bin")
    (bare / "model.safetensors").unlink()
    hub.commit(bare)
    facts = inspect_model("org/tiny")
    assert set(hub.asked) == WANTED - {"model.safetensors"} | {"pytorch_model.bin"}
    assert facts == of_hub(bare, facts)
    assert same_weights(facts, folder)
    hub.close()
    assert inspect_model("org/tiny") == facts


@pytest.mark.parametrize("revision", [None, "v1"])
@pytest.mark.parametrize("loss", ["gone", "unwell", "offline", "silent", "cut", "captive"])
def test_hub_model__is_found_in_the_cache_without_the_hub(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None, loss: str
) -> None:
    hub.commit(folder, revision or "main")
    facts = inspect_model("org/tiny", revision=revision)
    if loss == "gone":
        hub.close()
    hub.loss = loss
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", loss == "offline")
    monkeypatch.setattr(sources, "HUB_SECONDS", 0.2)
    assert inspect_model("org/tiny", revision=revision) == facts
    assert same_weights(facts, folder)
    with pytest.raises(
        ModelError, match="no model org/tiny at revision v2 on the hub or in its"
    ) as caught:
        inspect_model("org/tiny", revision="v2")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "revision", "named"),
    [
        ("org/none", None, "org/none on the hub or in its cache: 404 .* Repository Not Found"),
        ("org/tiny", "v9", "org/tiny at revision v9 on the hub or in its cache: 404 .* Revision"),
        ("org/gated", None, "org/gated on the hub or in its cache: 403 .* Cannot access gated"),
    ],
)
def test_hub__that_does_not_have_it_is_one_line(
    hub: Hub, folder: Path, source: str, revision: str | None, named: str
) -> None:
    hub.commit(folder)
    with pytest.raises(ModelError, match=f"^no model {named}.*; check the name") as caught:
        inspect_model(source, revision=revision)
    assert "\n" not in str(caught.value)
