"""What this machine can do for vglamm: each check gives findings, and each finding that is not good says how to mend it.

Nothing is changed on the machine. A finding blocks if neither the model nor its smallest preset can work while it stands.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vglamm.media import isolation

State = Literal["ok", "warn", "block"]
Levels = NDArray[np.float64]
GIB = 1024**3
# Of a bulk job: vision, language and pixel, a decoder before the first and another beside the last.
ACTORS = 5
# Ray keeps its objects in shared memory; below this it falls back to files, ten times slower.
SHARED_MEMORY = 2 * GIB
EXTRAS = {
    "data": "annotation in bulk",
    "train": "vglamm train",
    "serve": "the endpoint",
    "eval": "some metrics",
    "quant": "language models of 4 or 8 bits",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. state: "ok", "warn" (something will not work or will be slow) or "block". fix: what to do, "" if ok."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(model: str | None = None) -> Iterator[Finding]:
    """All findings, in an order in which a later one rests on earlier ones. model: a preset whose memory is to be told by part.

    Raises ConfigError for a preset that does not exist.
    """
    if model is not None:
        from vglamm.presets import preset

        preset(model)
    yield _python()
    yield from packages()
    yield decoding()
    yield shared_memory(Path(os.sep, "dev", "shm"))
    yield cpus(usable_cpus())
    yield gpu()
    yield from () if model is None else memory(model)
    yield namespaces()


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", "ok", found)


def packages(distribution: str = "vglamm") -> Iterator[Finding]:
    """Whether what the package asks for is installed in versions that it accepts: the base, then each extra."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in importlib.metadata.requires(distribution) or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "block", f"{distribution} itself is not installed", "run `pip install -e .` in the checkout")
        return
    base = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    lacking = [lack for r in base if (lack := _lack(r.name, str(r.specifier)))]
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision", "transformers", "sam2", "decord", "av"))
    if lacking:
        yield Finding("packages", "block", "; ".join(lacking), "run `pip install -c constraints.txt -e .` in the checkout")
    else:
        yield Finding("packages", "ok", versions)
    for extra, purpose in EXTRAS.items():
        asked = [r for r in wanted if r not in base and r.marker is not None and r.marker.evaluate({"extra": extra})]
        lacking = [lack for r in asked if (lack := _lack(r.name, str(r.specifier)))]
        if lacking:
            yield Finding(f"extra {extra}", "warn", "; ".join(lacking), f"for {purpose}: `pip install 'vglamm[{extra}]'`")
        else:
            yield Finding(f"extra {extra}", "ok", ", ".join(f"{r.name} {_version(r.name)}" for r in asked))
    yield _importable()


def _importable() -> Finding:
    # A torchvision made for another torch installs well and fails at import ("operator torchvision::nms does not exist").
    for name in ("torch", "torchvision", "transformers", "sam2", "pycocotools.mask"):
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            fix = "install torch and torchvision as a pair, in the versions of constraints.txt"
            return Finding("imports", "block", f"{name} does not import: {error}", fix)
    return Finding("imports", "ok", "torch, torchvision, transformers, sam2 and pycocotools import")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _lack(name: str, specifier: str) -> str | None:
    from packaging.specifiers import SpecifierSet

    version = _version(name)
    if version == "missing":
        return f"{name} is missing"
    return None if SpecifierSet(specifier).contains(version, prereleases=True) else f"{name} {version} is not {specifier}"


def decoding() -> Finding:
    """Writes a clip of 8 grey levels and reads it back with every decoder: a decoder that imports may still give wrong frames."""
    names = ["av", "decord"] if platform.machine() in ("x86_64", "AMD64") else ["av"]
    try:
        modules = {name: importlib.import_module(name) for name in names}
    except (ImportError, OSError) as error:
        return Finding("decoders", "block", f"a decoder does not import: {error}", "run `pip install -c constraints.txt -e .`")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    levels: Levels = np.linspace(20.0, 216.0, 8)
    broken = (modules["av"].error.FFmpegError, OSError, RuntimeError, *(m.DECORDError for n, m in modules.items() if n == "decord"))
    readers: dict[str, Callable[[Path], Levels]] = {"av": _levels_by_av, "decord": _levels_by_decord}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "levels.mp4")
        try:
            _write_levels(clip, levels)
            read = {name: readers[name](clip) for name in names}
        except broken as error:
            return Finding(
                "decoders", "block", f"{versions}: a round trip fails: {error}", "run `pip install -c constraints.txt -e .`"
            )
    for name, seen in read.items():
        if len(seen) != len(levels) or np.abs(seen - levels).max() > 6:
            found = f"{name} reads the levels {levels.tolist()} as {seen.round().tolist()}"
            return Finding("decoders", "block", found, f"reinstall {name} (decord and decord2 cannot stand side by side)")
    return Finding("decoders", "ok", f"{versions}: a clip of 8 frames written and read back")


def _write_levels(path: Path, levels: Levels) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), int(level), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _levels_by_av(path: Path) -> Levels:
    import av

    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)], np.float64)


def _levels_by_decord(path: Path) -> Levels:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return np.array([reader[i].asnumpy().mean() for i in range(len(reader))], np.float64)


def shared_memory(path: Path) -> Finding:
    """Size of the shared memory at ``path``, where Ray keeps what goes from actor to actor."""
    if not path.is_dir():
        return Finding("shared memory", "ok", f"no {path} on {platform.system()}: Ray uses files")
    size = shutil.disk_usage(path).total
    if size < SHARED_MEMORY:
        fix = "start the container with --shm-size=4g; on Kubernetes mount an emptyDir of medium Memory there"
        return Finding("shared memory", "warn", f"{path} has {size / GIB:.1f} GiB", fix)
    return Finding("shared memory", "ok", f"{path} has {size / GIB:.1f} GiB")


def usable_cpus() -> int:
    """Cores that this process may use: its affinity, or less where a container's CPU quota says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path(os.sep, "sys", "fs", "cgroup", "cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = min(cores, max(1, int(limit) // int(period)))
    return cores


def cpus(cores: int) -> Finding:
    """Whether each actor of a bulk job has a core of its own."""
    found = f"{cores} for the {ACTORS} actors of a bulk job"
    if cores < ACTORS:
        return Finding("cpu", "warn", found, "they share cores (profile laptop, from two cores on): it is slower, and it works")
    return Finding("cpu", "ok", f"{found}, or more of them; `threads` of a profile times its actors should not exceed the cores")


def gpu() -> Finding:
    """The CUDA devices that torch sees."""
    try:
        import torch
    except (ImportError, OSError):
        return Finding("gpu", "warn", "unknown: torch does not import", "see the finding on packages")
    if not torch.cuda.is_available():
        return Finding("gpu", "warn", "none", "the tiny preset runs on a CPU; small wants patience and phi3 a GPU of 24 GB or more")
    seen = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    bf16 = "with bfloat16" if torch.cuda.is_bf16_supported() else "without bfloat16: use --dtype float16"
    return Finding("gpu", "ok", "; ".join(f"{device.name}, {device.total_memory / GIB:.0f} GiB" for device in seen) + f", {bf16}")


def parameters(model: str) -> dict[str, int]:
    """Parameters of each part of a preset, counted on the model built without memory."""
    from vglamm.checkpoint import skeleton
    from vglamm.presets import preset

    return {part: sum(p.numel() for p in module.parameters()) for part, module in skeleton(preset(model)).named_children()}


def memory(model: str) -> Iterator[Finding]:
    """The weights of each part of a preset in float32 and bfloat16, and whether they fit where they would run."""
    import torch

    counts = parameters(model)
    for part, count in counts.items():
        found = f"{count / 1e6:,.1f} M parameters: {_size(count * 4)} in float32, {_size(count * 2)} in bfloat16"
        yield Finding(f"{model} {part}", "ok", found)
    if torch.cuda.is_available():
        place, room = "GPU 0", torch.cuda.get_device_properties(0).total_memory
    else:
        place, room = "memory", available_memory()
    need = sum(counts.values())
    # A third on top of the weights for activations, the cache of keys and values, and the frames.
    full, half = need * 4 * 4 // 3, need * 2 * 4 // 3
    found = f"{need / 1e6:,.1f} M parameters want {_size(full)} in float32, {_size(half)} in bfloat16; {place} has {_size(room)}"
    if room < half:
        yield Finding(f"{model} memory", "block", found, "use a smaller preset, a larger GPU, or one machine for each part")
    elif room < full:
        yield Finding(f"{model} memory", "warn", found, "use --dtype bfloat16")
    else:
        yield Finding(f"{model} memory", "ok", found)


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 1024**2:.1f} MiB"


def available_memory() -> int:
    """Bytes that can be used now without swapping: MemAvailable where the kernel tells it, else all physical memory."""
    meminfo = Path(os.sep, "proc", "meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def namespaces() -> Finding:
    """Whether a process can put itself into an empty network namespace, in which a decoder under attack reaches nobody."""
    fix = "allow unprivileged user namespaces (sysctl, seccomp profile of the container); else block egress by policy"
    try:
        result = subprocess.run([sys.executable, "-m", isolation.__name__], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("network namespaces", "warn", f"a process that leaves the network fails: {error}", fix)
    if result.returncode != 0:
        return Finding("network namespaces", "warn", "not allowed: the endpoint decodes videos within reach of the network", fix)
    return Finding("network namespaces", "ok", "allowed: the endpoint decodes videos without a network")
