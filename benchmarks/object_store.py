"""Whether a slow last stage makes bulk annotation fill the object store, or spill to disk."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address  # Ray's own `ray memory` has no other door

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one
from benchmarks.bulk.model import stand_in
from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from ray_jobs.annotate.board import Board
from ray_jobs.annotate.front import TINY_DESCRIBE
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.run import pipeline
from vglamm.annotation import Annotation
from vglamm.places import Place
from vglamm.presets import preset

STORE = 80 * 1024**2
SEEN = 32
"""Frames of a video that the language model sees: more than preset ``tiny`` has, so that videos are heavy and not dear."""
MB = 1e6


class SlowLedger(Ledger):
    """Takes its time for each video, as a slow disk would: the last stage waits with it."""

    seconds = 1.5

    def write(self, position: int, rows: Sequence[Annotation]) -> None:
        time.sleep(self.seconds)
        super().write(position, rows)


@dataclass
class Store:
    """What was seen of the object store, in bytes. used, outside: at each look, in all and of it in files instead of shared memory.
    spilled: in all. limit: of the store."""

    used: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)
    spilled: int = 0
    limit: int = 0


@contextmanager
def watched(period: float = 0.5) -> Iterator[Store]:
    """Look at the store of the Ray that this process is connected to until the end, and once more then."""
    store, over = Store(), threading.Event()
    state = get_state_from_address(ray.get_runtime_context().gcs_address)

    def look() -> None:
        told = get_memory_info_reply(state).store_stats
        store.used.append(told.object_store_bytes_used)
        store.outside.append(told.object_store_bytes_fallback)
        store.spilled, store.limit = told.spilled_bytes_total, told.object_store_bytes_avail

    def looking() -> None:
        while not over.wait(period):
            look()

    looker = threading.Thread(target=looking, daemon=True)
    looker.start()
    try:
        yield store
    finally:
        over.set()
        looker.join()
        look()


def run(*, rounds: int, videos: int = 80) -> Section:
    config = preset("tiny")
    vision = config.vision
    frames = SEEN * 3 * (vision.spatial.image_size**2 + vision.temporal.image_size**2)
    tokens = vision.video_tokens // vision.frames * SEEN * config.language.width * 4
    share, spilled, held = [], [], []
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as name:
        folder = Path(name)
        model = stand_in(folder / "model", frames=SEEN)
        write_clips(folder / "videos", videos, frames=SEEN)
        for round_ in range(rounds):
            out = folder / f"out-{round_}"
            job = bulk_job(folder / "videos", model, out, TINY_DESCRIBE, profile=one_by_one(SMALL))
            with rays.one_node(store=STORE), watched() as store:
                board = ray.remote(Board).options(num_cpus=0).remote()
                jobs = list(job.manifest.jobs)
                data = pipeline(job, SlowLedger(Place.of(out), job.part), jobs, board)
                heard = sum(len(receipts["position"]) for receipts in data.iter_batches(batch_size=None, prefetch_batches=0))
                assert heard == videos, f"{heard} of {videos} videos"
                took = ray.get(board.read.remote())
            share.append(100 * max(store.used) / store.limit)
            spilled.append((store.spilled + max(store.outside)) / MB)
            held.append(took["decode"].last - took["decode"].first)
    how = (
        f"{videos} videos through an object store of {STORE / MB:.0f} MB: {videos * frames / MB:.0f} MB of frames and "
        f"{videos * tokens / MB:.0f} MB of visual tokens; {SlowLedger.seconds} s more for each video in the last stage, so that "
        f"all before it have to be held back. Sizes of preset `tiny` but {SEEN} frames, random weights; looked at twice a second; "
        f"{rounds} rounds."
    )
    found = (
        Row("spilled to disk", Spread.of(spilled), " MB", at_most=0),
        Row("most in use at once, of the store", Spread.of(share), " %", at_most=100),
    )
    return Section("Bulk annotation: slow consumer", how, found, (("decoding was stretched over", Spread.of(held).text(" s")),))
