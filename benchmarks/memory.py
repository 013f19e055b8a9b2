"""Whether a long video needs more memory than a short one. Each clip is answered in a process of its own, which tells its peak:
``python -m benchmarks.memory CLIP PRESET``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.media.mp4 import write_mp4
from vglamm.model import VideoGLaMM
from vglamm.presets import preset
from vglamm.records import Phrase, Reply
from vglamm.walk import Walk

SHORT, LONG = 300, 3000
SIDE, RATE = 128, 25
GOAL = 1.1
OBJECTS = 2


def write_clip(path: Path, frames: int) -> None:
    """Plain frames whose brightness goes up and down."""
    levels = (abs(k % 200 - 100) + 60 for k in range(frames))
    write_mp4(path, ((k / RATE, np.full((SIDE, SIDE, 3), level, np.uint8)) for k, level in enumerate(levels)), last=1 / RATE)


def peak_mb() -> float:
    """The most memory that this process has held. On Linux from /proc: what getrusage tells there, a child inherits from the
    process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


def answer(clip: Path, name: str) -> dict[str, float]:
    """Ask about every frame of a clip. The model's random weights write no ``[SEG]``, so after its own few words the masks of two
    random prompts are made as an answer's would be."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    walk = Walk.of(VideoGLaMM(preset(name)).eval().requires_grad_(False), build_tokenizer())
    session = walk.watch(clip, every_frame=True)
    session.ask("What moves?", max_new_tokens=4)
    prompts = np.random.default_rng(0).standard_normal((OBJECTS, walk.config.pixel.prompt_width), np.float32)
    phrases = tuple(Phrase(None, None, None, track) for track in range(OBJECTS))
    given = session.ground("What else?", Reply("[SEG] [SEG]", "", phrases, prompts, (), "stop"))
    return {"frames": len(given.tracks[0].rle), "peak": peak_mb()}


def peak(clip: Path, name: str, frames: int) -> float:
    """Peak of a fresh process that answers about the clip, in MB."""
    command = [sys.executable, "-m", "benchmarks.memory", str(clip), name]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["frames"] == frames, told
    return float(told["peak"])


def run(*, rounds: int, name: str = "tiny", short: int = SHORT, long: int = LONG) -> Section:
    peaks: dict[int, list[float]] = {short: [], long: []}
    with tempfile.TemporaryDirectory() as folder:
        clips = {frames: Path(folder) / f"{frames}.mp4" for frames in peaks}
        for frames, clip in clips.items():
            write_clip(clip, frames)
        for _ in range(rounds):
            for frames, clip in clips.items():
                peaks[frames].append(peak(clip, name, frames))
    rows = (
        Row(
            f"peak at {long} frames / {short} frames",
            Spread.of([b / a for a, b in zip(*peaks.values(), strict=True)]),
            "x",
            at_most=GOAL,
        ),
    )
    how = (
        f"Preset `{name}`, MP4 of {SIDE} px, {OBJECTS} objects masked on every frame in video mode, through the walk (probe, "
        f"decode, vision, language, pixel), each clip in a process of its own, {rounds} rounds."
    )
    details = tuple((f"peak at {frames} frames", Spread.of(found).text(" MB")) for frames, found in peaks.items())
    return Section("Memory of a long video", how, rows, details)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(Path(sys.argv[1]), sys.argv[2])) + "\n")
