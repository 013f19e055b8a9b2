"""The stages of a bulk job: each takes parcels, calls one step of the model through its door, and passes parcels on.

No stage raises for what a video or a question caused: such a parcel goes on as failed and ends as a row that says why. Only what is
wrong with the job itself (a checkpoint, a profile) ends it. Stages know nothing of Ray; :mod:`ray_jobs.annotate.pools` runs them.
A step is imported by the stage that takes it: each actor runs one, and the packages of the others cost it seconds and memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ray_jobs.annotate.parcel import Parcel, thawed
from vglamm.annotation import FAILED, OK, Annotation
from vglamm.clock import Clock
from vglamm.compose import compose, tracks
from vglamm.config import ModelConfig
from vglamm.errors import MaskError, VglammError
from vglamm.frames import choose, end_of, grounding_source, vision_input
from vglamm.identity import identity, load_config
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits
from vglamm.places import local_copy, sha256
from vglamm.records import Phrase, PixelInput, Reply, Sampling, VisionInput, VisualTokens

log = logging.getLogger(__name__)
Stage = Callable[[list[Parcel]], list[Parcel]]
FrameFeed = Callable[["Parcel", int, int], Iterator[PixelInput]]
"""``feed(parcel, first, stop)`` gives grounding frames in chunks, from wherever they are decoded."""


@dataclass(frozen=True)
class Settings:
    """What decides the answers of a run, besides its manifest. model: a checkpoint, as ``vglamm.load`` takes it. sampling: options
    of :func:`vglamm.frames.choose`. mode: of the masks. dtype: of the weights. quantise: of the language model."""

    model: str
    sampling: dict[str, Any]
    mode: str = "video"
    max_new_tokens: int | None = None
    dtype: str | None = None
    quantise: str | None = None
    limits: Limits = field(default_factory=Limits)

    def options(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The sampling of one row, its own over the run's. How many frames are used is said by the row or by the run, not by both:
        ``every_frame`` of a run is nothing to a row with ``fps``."""
        dropped = {"fps", "every_frame"} if "fps" in own or own.get("every_frame") else set()
        return {name: value for name, value in self.sampling.items() if name not in dropped} | dict(own)


def guarded(stage: Stage, parcels: list[Parcel]) -> list[Parcel]:
    """The stage on all that have not failed, in one call; if that fails, one by one, so that one bad item fails alone."""
    live = [parcel for parcel in parcels if not parcel.failed]
    if not live:
        return parcels
    try:
        done = stage(live)
    except (Exception, SystemExit) as error:  # SystemExit would end the actor and hang its pool (ray issue 62746)
        if len(live) > 1:
            return [guarded(stage, [parcel])[0] for parcel in parcels]
        log.warning("%s: %s", live[0].plain["id"], error)
        done = [live[0].fail(type(error).__name__, str(error) or type(error).__name__)]
    passed = iter(done)
    return [parcel if parcel.failed else next(passed) for parcel in parcels]


class Decode:
    """uri -> the frames that the language model sees, 8-bit and resized; and which frames were chosen."""

    def __init__(self, settings: Settings, beat: Callable[[], None] = lambda: None) -> None:
        self.settings, self.config, self.beat = settings, load_config(settings.model), beat

    def __call__(self, parcels: list[Parcel]) -> list[Parcel]:
        return [self._one(parcel) for parcel in parcels]

    def _one(self, parcel: Parcel) -> Parcel:
        limits = self.settings.limits
        with local_copy(parcel.plain["uri"], limits) as path:
            if not os.path.isdir(path):
                limits.check_file(path)
            self.beat()
            read = Parcel(parcel.position, parcel.plain | {"sha256": sha256(path)})
            self.beat()
            options = self.settings.options(parcel.plain["own_sampling"])
            try:
                with closing(open_guarded(path, limits, fps=options.pop("source_fps", None))) as source:
                    sampling = choose(source, self.config, **options)
                    seen = vision_input(source, sampling, self.config)
            except VglammError as error:  # the row tells of which bytes
                return read.fail(type(error).__name__, str(error))
        known = {"sampling": asdict(sampling), "end": end_of(source, options.get("end"))}
        arrays = {"spatial": seen.spatial} | ({} if seen.temporal is None else {"temporal": seen.temporal})
        return Parcel(read.position, read.plain | known, arrays)


class See:
    """Frames -> visual tokens."""

    def __init__(self, settings: Settings, device: str) -> None:
        from vglamm.steps.vision import VisionStep

        self.step = VisionStep.load(settings.model, device=device, dtype=settings.dtype)

    def __call__(self, parcels: list[Parcel]) -> list[Parcel]:
        inputs = [VisionInput(p.arrays["spatial"], p.arrays.get("temporal")) for p in parcels]
        return [
            Parcel(parcel.position, parcel.plain | {"frames": seen.frames}, {"tokens": seen.tokens})
            for parcel, seen in zip(parcels, self.step(inputs), strict=True)
        ]


class Say:
    """Visual tokens and questions -> replies; a question that cannot be asked gets its error instead. batch: of questions. beat:
    called before each."""

    def __init__(self, settings: Settings, device: str, batch: int, beat: Callable[[], None] = lambda: None) -> None:
        self.settings, self.batch, self.beat = settings, batch, beat
        from vglamm.steps.language import LanguageStep

        self.step = LanguageStep.load(settings.model, device=device, dtype=settings.dtype, quantise=settings.quantise)

    def __call__(self, parcels: list[Parcel]) -> list[Parcel]:
        asked = [
            (VisualTokens(parcel.arrays["tokens"], parcel.plain["frames"]), (), question)
            for parcel in parcels
            for question in parcel.plain["questions"]
        ]
        replies = iter(reply for at in range(0, len(asked), self.batch) for reply in self._answered(asked[at : at + self.batch]))
        return [self._told(parcel, [next(replies) for _ in parcel.plain["questions"]]) for parcel in parcels]

    def _answered(self, asked: list[Any]) -> list[Reply | VglammError]:
        """All in one batch; if one of them cannot be asked, each alone."""
        self.beat()
        try:
            return list(self.step(asked, max_new_tokens=self.settings.max_new_tokens))
        except VglammError as error:
            if len(asked) == 1:
                return [error]
            return [reply for one in asked for reply in self._answered([one])]

    def _told(self, parcel: Parcel, replies: list[Reply | VglammError]) -> Parcel:
        plain: list[dict[str, Any]] = []
        prompts = []
        for reply in replies:
            if isinstance(reply, Reply):
                plain.append({name: value for name, value in asdict(reply).items() if name != "prompts"})
                prompts.append(reply.prompts)
            else:
                plain.append({"error": [type(reply).__name__, str(reply)]})
        arrays = {"prompts": np.concatenate(prompts)} if prompts else {}
        return Parcel(parcel.position, parcel.plain | {"replies": plain}, arrays)


class Ground:
    """Replies -> annotations with tracks. The prompts of all questions about a video share one pass over its frames."""

    def __init__(self, settings: Settings, device: str, feed: FrameFeed) -> None:
        self.settings, self.feed = settings, feed
        self.model = identity(settings.model)
        from vglamm.steps.pixel import PixelStep, PixelTask

        self.step, self._task = PixelStep.load(settings.model, device=device, dtype=settings.dtype), PixelTask

    def __call__(self, parcel: Parcel) -> list[Annotation]:
        """The rows of one video, one for each question. Timings: ``pixel``, and ``frames`` for the wait for grounding frames."""
        prompts, frames = parcel.arrays.get("prompts"), len(parcel.plain["sampling"]["grounding_indices"])
        clock = Clock()

        def fed(first: int, stop: int) -> Iterator[PixelInput]:
            return clock.each("decode", self.feed(parcel, first, stop))

        found: tuple[Any, ...] = ()
        if prompts is not None and len(prompts):
            task = self._task(fed, np.array(prompts), frames, self.settings.mode)
            rows = [row for _, row in clock.each("pixel", self.step.stream(task))]
            found = tracks(rows, len(prompts))
        spent = {"frames": clock.spent["decode"], "pixel": clock.spent["pixel"]}
        return rows_of(parcel.spent(spent), found, self.model)


def grounding_frames(
    uri: str, sampling: Sampling, config: ModelConfig, limits: Limits, first: int, stop: int, source_fps: float | None = None
) -> Iterator[PixelInput]:
    """Chunks of grounding frames, decoded in a guarded child while they are asked for."""
    with local_copy(uri, limits) as path, closing(open_guarded(path, limits, fps=source_fps)) as source:
        yield from grounding_source(source, sampling, config)(first, stop)


def rows_of(parcel: Parcel, found: tuple[Any, ...] = (), model: str = "") -> list[Annotation]:
    """One annotation for each question of a parcel. found: the tracks of all its replies in order."""
    plain = parcel.plain
    left = list(found)
    rows = []
    for number, question in enumerate(plain["questions"]):
        reply = plain["replies"][number] if "replies" in plain and not parcel.failed else {"error": plain.get("error")}
        known = {
            "id": plain["row_ids"][number],
            "position": plain["rows"][number],
            "video": plain["video"],
            "uri": plain["uri"],
            "sha256": plain.get("sha256"),
            "question": question,
            "config": plain["config"],
            "extra": thawed(plain["extra"]),
        }
        if "error" in reply:
            kind, message = reply["error"]
            rows.append(Annotation(status=FAILED, error_type=kind, error=message, **known))
            continue
        own, left = tuple(left[: len(reply["phrases"])]), left[len(reply["phrases"]) :]
        answer = compose(
            question,
            _reply(reply),
            own,
            sampling_of(plain),
            source=plain["uri"],
            model=model,
            end=plain["end"],
            timings=plain["timings"],
        )
        rows.append(Annotation(status=OK, answer=answer, **known))
    if left:
        raise MaskError(f"{len(left)} tracks too many", "one for each phrase", "report this as a bug")
    return rows


def sampling_of(plain: dict[str, Any]) -> Sampling:
    return Sampling(**{name: tuple(v) if isinstance(v, list) else v for name, v in plain["sampling"].items()})


def _reply(plain: dict[str, Any]) -> Reply:
    phrases = tuple(Phrase(**phrase) for phrase in plain["phrases"])
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()} | {"phrases": phrases}
    return Reply(**values, prompts=np.zeros((len(phrases), 1), np.float32))
