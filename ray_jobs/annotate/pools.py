"""The stages as Ray actors: each translates between a block and parcels, calls its stages and says what it did, no more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray

from ray_jobs.annotate.board import Note
from ray_jobs.annotate.decoder import Feed
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.parcel import Parcel, pack, unpack
from ray_jobs.annotate.profile import Profile
from ray_jobs.annotate.stages import Decode, Ground, Say, See, Settings, Stage, guarded, rows_of
from vglamm.annotation import Annotation
from vglamm.errors import EnvironmentProblem
from vglamm.records import PixelInput

RECEIPT = pa.schema({"position": pa.int64(), "told": pa.string()})
UNWRITTEN = "unwritten"
"""In the place of what else is told: why rows could not be written, which ends the job."""


class Actor:
    """A pool's actor. stages: names, in order, of what it does with each batch."""

    def __init__(
        self, name: str, stages: tuple[str, ...], profile: Profile, settings: Settings, ledger: Ledger, board: Any
    ) -> None:
        import torch

        torch.set_num_threads(profile.pools[name].threads)
        self.name, self.board, self.ledger, self.shared = name, board, ledger, False
        device = _device(profile)
        self.where = {"node": _node(), "pid": os.getpid(), "gpus": _gpus(), "gpu_share": _gpu_share(), "device": device}
        made = {
            "decode": lambda: Decode(settings, self._beat),
            "vision": lambda: See(settings, device),
            "language": lambda: Say(settings, device, profile.pools[name].batch, self._beat),
        }
        self.stages: list[tuple[str, Stage]] = [(stage, made[stage]()) for stage in stages if stage in made]
        self.ground = None
        if "pixel" in stages:
            self.feed = Feed(profile.decode_pixel, settings, profile.retries)
            self.ground = Ground(settings, device, self._fed)

    def __call__(self, block: pa.Table) -> pa.Table:
        parcels = unpack(block)
        for stage, work in self.stages:
            began = time.perf_counter()
            parcels = guarded(work, parcels)
            share = (time.perf_counter() - began) / max(len(parcels), 1)
            parcels = [self._signed(parcel.spent({stage: share}), stage) for parcel in parcels]
            self._note(stage, parcels, share * len(parcels))
        return pack(parcels) if self.ground is None else self._grounded(parcels)

    def _grounded(self, parcels: list[Parcel]) -> pa.Table:
        receipts = []
        for parcel in (parcel for parcel in parcels if not parcel.filler):
            began = time.perf_counter()
            after, rows = self._rows(parcel)
            told = _told(self._signed(after, "pixel"), rows)
            try:
                self._check_shared()
                self.ledger.write(parcel.position, rows)
            except EnvironmentProblem as error:  # raised here it would be taken for a lost worker
                told = {UNWRITTEN: [error.got, error.expected, error.fix]}
            self._note("pixel", [after], time.perf_counter() - began)
            receipts.append({"position": parcel.position, "told": json.dumps(told)})
        return pa.Table.from_pylist(receipts, schema=RECEIPT)

    def _check_shared(self) -> None:
        if not self.shared:
            self.ledger.check_shared()
            self.shared = True

    def _rows(self, parcel: Parcel) -> tuple[Parcel, list[Annotation]]:
        assert self.ground is not None, "a pool that ends in pixel"
        rows: list[Annotation] = []
        ground = self.ground

        def work(given: list[Parcel]) -> list[Parcel]:
            rows.extend(ground(given[0]))
            return given

        [after] = guarded(work, [parcel])
        return after, rows_of(after) if after.failed else rows

    def _signed(self, parcel: Parcel, stage: str) -> Parcel:
        return Parcel(parcel.position, parcel.plain | {"where": parcel.plain.get("where", {}) | {stage: self.where}}, parcel.arrays)

    def _fed(self, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
        """Grounding frames; each chunk is a sign of life."""
        for chunk in self.feed(parcel, first, stop):
            self._beat()
            yield chunk

    def _beat(self) -> None:
        self.board.beat.remote()

    def _note(self, stage: str, parcels: list[Parcel], seconds: float) -> None:
        """Tell the board, without waiting for it."""
        own = [parcel for parcel in parcels if not parcel.filler]
        failed = sum(parcel.failed for parcel in own)
        self.board.take.remote(Note(stage, self.where["node"], self.where["pid"], len(own), failed, seconds, time.time()))


def _told(parcel: Parcel, rows: list[Annotation]) -> dict[str, Any]:
    """What the driver hears of a video: counts and times, nothing large."""
    answers = [row.answer for row in rows if row.answer is not None]
    return {
        "rows": len(rows),
        "failed": sum(row.answer is None for row in rows),
        "phrases": sum(len(answer.phrases) for answer in answers),
        "tokens": sum(len(reply.get("tokens", ())) for reply in parcel.plain.get("replies", ())),
        "seen": len(parcel.plain.get("sampling", {}).get("llm_indices", ())),
        "frames": sum(len(answer.tracks[0].rle) for answer in answers[:1] if answer.tracks),
        "masks": sum(len(track.rle) for answer in answers for track in answer.tracks),
        "timings": rows[0].answer.timings if rows and rows[0].answer else parcel.plain["timings"],
        "where": parcel.plain["where"],
    }


def _device(profile: Profile) -> str:
    import torch

    if profile.device != "auto":
        return profile.device
    return "cuda" if _gpus() and torch.cuda.is_available() else "cpu"


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _gpu_share() -> float:
    """What this actor was given of its GPUs, 0 for none."""
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def _gpus() -> list[str]:
    return [str(one) for one in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
