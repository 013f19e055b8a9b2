"""Where a checkpoint is: a folder, the weights in the package, a hub id or a URL -> a local folder.

Only configs, tokenizers, model cards and safetensors are ever fetched for loading: no pickle and no Python file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Any

from vglamm.errors import CheckpointError
from vglamm.media.read import local_path
from vglamm.presets import PRESETS

log = logging.getLogger(__name__)

PARTS = ("vision", "language", "pixel")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


def resolve(source: str | os.PathLike[str], *, part: str | None = None, cache: Path | None = None) -> Path:
    """The local folder of a checkpoint; what is remote is fetched first, of the weights only ``part``'s if one is named.

    source: a folder, ``"tiny"`` (shipped in the package), a hub id ``owner/name`` or ``owner/name@revision``, or a URL that
    pyarrow or fsspec knows. cache: where URLs are kept, ``~/.cache/vglamm`` unless given. CheckpointError if there is no such
    place, ConfigError for a URL that nothing here understands.
    """
    weights = [f"{part}.safetensors"] if part else [f"{name}.safetensors" for name in PARTS]
    return fetch(source, ["config.json", "README.md", *TOKENIZER_FILES, *weights], cache=cache)


def fetch(source: str | os.PathLike[str], patterns: Iterable[str], *, cache: Path | None = None) -> Path:
    """The local folder (or file) behind ``source``; of what is remote only the names that match ``patterns`` are fetched."""
    text = os.fspath(source)
    path = Path(text).expanduser()
    if text == "tiny" and not path.exists():
        return _shipped(text)
    if text.startswith("file://"):
        path = Path(local_path(text))
    elif "://" in text:
        return _from_url(text, list(patterns), cache or Path.home() / ".cache" / "vglamm")
    if path.exists():
        return path
    if HUB_ID.fullmatch(text) and not text.startswith("."):
        return _from_hub(text, list(patterns))
    if text in PRESETS:
        raise CheckpointError(
            f"{text}, a preset, which names sizes and has no weights",
            "'tiny', whose weights are shipped, or the place of a checkpoint",
            "convert released weights with `vglamm convert`, or train, and pass the folder",
        )
    raise CheckpointError(f"no checkpoint at {text}", "a folder, 'tiny', a hub id (owner/name) or a URL", "check the path")


def _shipped(name: str) -> Path:
    folder = Path(str(resources.files("vglamm"))) / "weights" / name
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"no {name} weights in this installation",
            f"a checkpoint in {Path('vglamm') / 'weights' / name}",
            f"install a released wheel, or train it with `make -j2 {name}` in a checkout",
        )
    return folder


def _from_hub(name: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # every error of the hub client is one of the two
        raise CheckpointError(
            f"nothing at {name}, neither a folder here nor on the hub ({type(error).__name__})",
            "a folder, or a hub id that can be reached",
            "check the name and the network, or download it and pass the folder",
        ) from error


def _from_url(url: str, patterns: list[str], cache: Path) -> Path:
    try:
        system, root = _system(url)
        found = system.find(root, detail=True)
        if alone := list(found) == [root]:
            found = {root: found[root] or system.info(root)}
    except _failures() as error:
        raise CheckpointError(
            f"{url}, which cannot be read ({error})", "a file, or a folder that can be listed", "check the URL and its package"
        ) from error
    wanted = {}
    for name, details in found.items():
        relative = os.path.basename(root.partition("?")[0]) if alone else name.removeprefix(root).lstrip("/")
        if any(fnmatch(relative, pattern) for pattern in patterns):
            wanted[relative] = (name, details)
    if not wanted:
        raise CheckpointError(f"no checkpoint at {url}", f"files among {', '.join(patterns)}", "check the URL")
    folder = cache / _stamp(url, {name: details for name, (_, details) in wanted.items()})
    if not folder.is_dir():
        _download(url, system, {relative: name for relative, (name, _) in wanted.items()}, folder)
    return folder.joinpath(*wanted) if alone else folder


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, as fsspec's, and the path in it. What pyarrow knows (s3, gs, hdfs, ...) it reads, as everywhere."""
    import fsspec

    with contextlib.suppress(ModuleNotFoundError):  # pyarrow is of an extra; without it fsspec's own are all there is
        from pyarrow.fs import PyFileSystem

        from vglamm.places import Place

        place = Place.of(url)
        if not isinstance(place.system, PyFileSystem):
            from fsspec.implementations.arrow import ArrowFSWrapper

            return ArrowFSWrapper(place.system), place.path
    system, root = fsspec.core.url_to_fs(url)
    return system, system._strip_protocol(root)


def _download(url: str, system: Any, wanted: dict[str, str], folder: Path) -> None:
    """All of ``wanted``, name below ``folder`` -> name in ``system``, or nothing."""
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
    try:
        for relative, name in wanted.items():
            log.info("fetching %s", relative)
            target = partial / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(name, str(target))
        if not folder.is_dir():  # another process may have been faster
            partial.rename(folder)
    except _failures() as error:
        raise CheckpointError(f"{url}, which broke off ({error})", "a complete download", "try again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _failures() -> tuple[type[Exception], ...]:
    """What a file system raises. By aiohttp fsspec reads the web, if it does; most of its errors are no OSError."""
    client = sys.modules.get("aiohttp")
    return (OSError, ValueError, ImportError, *(() if client is None else (client.ClientError,)))


def _stamp(url: str, details: dict[str, dict[str, Any]]) -> str:
    """A name that changes with the address and with what the file system says of the files, so that nothing stale is served."""
    told = ("size", "created", "mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "md5Hash", "islink")
    known = {name: {key: str(entry[key]) for key in told if key in entry} for name, entry in sorted(details.items())}
    return hashlib.sha256(json.dumps([url, known]).encode()).hexdigest()[:32]
