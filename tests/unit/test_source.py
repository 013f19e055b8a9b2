"""Files behind URLs: one alone or a folder of them, through whatever file system reads the address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from vglamm.errors import CheckpointError, ConfigError
from vglamm.places import Place
from vglamm.source import fetch, resolve

FILES = {"config.json": b"{}" * 50, "README.md": b"a card", "pixel.safetensors": bytes(range(256)) * 2**15}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def held(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def test_a_url_of_a_file_gives_that_file_if_it_is_wanted(memory: Any, cache: Path) -> None:
    memory.pipe("/w/README.md", b"a card")
    first = fetch("memory://w/README.md", ["*.md"], cache=cache)
    assert (first.name, first.read_bytes()) == ("README.md", b"a card")
    memory.pipe("/w/README.md", b"a cord")
    assert fetch("memory://w/README.md", ["*.md"], cache=cache).read_bytes() == b"a cord"
    with pytest.raises(CheckpointError, match="no checkpoint at memory"):
        fetch("memory://w/README.md", ["*.json"], cache=cache)


class Web(SimpleHTTPRequestHandler):
    """A server of files, which knows no ranges. It breaks off in ``config.json`` and shows ``README.md`` to nobody."""

    def do_GET(self) -> None:
        if "README" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(9) if "config" in self.path else source.read())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web(saved: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Web, directory=saved)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_from_a_web_server(web: str, cache: Path) -> None:
    got = fetch(f"{web}/pixel.safetensors?download=true", ["*.safetensors"], cache=cache)
    assert (got.name, got.read_bytes()) == ("pixel.safetensors", FILES["pixel.safetensors"])
    for name, word in (("config.json", "which broke off"), ("README.md", "cannot be read"), ("nothing.json", "no checkpoint at")):
        with pytest.raises(CheckpointError, match=word):
            fetch(f"{web}/{name}", ["*.json", "*.md"], cache=cache)
    assert list(cache.iterdir()) == [got.parent]


def test_what_pyarrow_knows_is_read_through_it(saved: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket is reached in one way, whoever asks: here a folder stands for it."""
    bucket = SubTreeFileSystem(str(saved.parent), LocalFileSystem())
    monkeypatch.setattr(Place, "of", lambda url: Place(url, url.removeprefix("s3://bucket/"), bucket, "s3"))
    folder = resolve("s3://bucket/model", cache=cache)
    assert held(folder) == FILES
    assert resolve("s3://bucket/model", cache=cache) == folder
    assert fetch("s3://bucket/model/README.md", ["*.md"], cache=cache).read_bytes() == b"a card"
    with pytest.raises(CheckpointError, match="no checkpoint at s3://bucket/none"):
        resolve("s3://bucket/none", cache=cache)


def test_an_address_that_nothing_understands_is_refused(cache: Path) -> None:
    with pytest.raises(ConfigError, match="nonsense://a"):
        resolve("nonsense://a", cache=cache)
