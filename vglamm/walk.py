"""One video through the three steps in one process: ``load("tiny").ask("clip.mp4", "What moves?")``.

The language model's frames are decoded sparsely; grounding frames come in chunks, are masked and forgotten, so that a long
video needs no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vglamm import checkpoint
from vglamm.answer import Answer
from vglamm.clock import Clock
from vglamm.compose import compose, corrected, tracks
from vglamm.config import ModelConfig
from vglamm.errors import ConfigError, DialogueError, MaskError
from vglamm.frames import Video, choose, end_of, grounding_source, open_frames, vision_input
from vglamm.language.phrases import parse_reply
from vglamm.media.read import VideoSource
from vglamm.model import VideoGLaMM
from vglamm.pixel.anchor import check_mode
from vglamm.pixel.sight import Row
from vglamm.records import Marks, Phrase, PixelInput, Reply, Sampling, Sight, Track, VisionInput, VisualTokens
from vglamm.steps.language import LanguageStep
from vglamm.steps.pixel import PixelStep, PixelTask
from vglamm.steps.vision import VisionStep


def load(
    source: checkpoint.Source = "tiny",
    *,
    device: torch.device | str = "cpu",
    dtype: checkpoint.Dtype = None,
    quantise: str | None = None,
) -> Walk:
    """A model ready to be asked. source: "tiny" (shipped), a checkpoint folder, a hub id or a URL. dtype: None keeps the stored
    one, except that float16, a dtype to store in, becomes float32 on a CPU. quantise: "8bit" or "4bit" for the language model.
    Raises CheckpointError, ConfigError, or EnvironmentProblem for a device that is not there."""
    device = checkpoint.as_device(device)
    return Walk(
        VisionStep.load(source, device=device, dtype=dtype),
        LanguageStep.load(source, device=device, dtype=dtype, quantise=quantise),
        PixelStep.load(source, device=device, dtype=dtype),
        checkpoint.load_config(source),
        name=checkpoint.identity(source),
    )


class Walk:
    """The three steps and their config. name: what ``Answer.model`` says."""

    def __init__(
        self, vision: VisionStep, language: LanguageStep, pixel: PixelStep, config: ModelConfig, *, name: str | None = None
    ) -> None:
        self.vision, self.language, self.pixel = vision, language, pixel
        self.config, self.name = config, name or config.name

    @staticmethod
    def of(model: VideoGLaMM, tokenizer: Any, *, device: torch.device | str = "cpu", dtype: checkpoint.Dtype = None) -> Walk:
        """A walk over a model in memory, for one that is in training or was just built."""
        return Walk(
            VisionStep(model.vision, device=device, dtype=dtype),
            LanguageStep(model.language, tokenizer, device=device, dtype=dtype),
            PixelStep(model.pixel, device=device, dtype=dtype),
            model.config,
        )

    def ask(
        self,
        video: Video,
        question: str,
        *,
        fps: float | None = None,
        source_fps: float | None = None,
        every_frame: bool = False,
        limit: int | None = None,
        start: float | None = None,
        end: float | None = None,
        mode: str = "video",
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Answer:
        """Ask one question about a video or image; the options are those of :meth:`watch` and :meth:`Session.ask`."""
        [session] = self._watch(
            [video], fps=fps, source_fps=source_fps, every_frame=every_frame, limit=limit, start=start, end=end, mode=mode
        )
        return session.ask(question, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)

    def watch(
        self, video: Video, *, mode: str = "video", source_fps: float | None = None, keep: bool = True, **sampling: Any
    ) -> Session:
        """See a video once, to be asked any number of questions in turn.

        video: a path, an image uint8[H, W, 3] or of Pillow, frames uint8[F, H, W, 3] or an opened video. source_fps: the
        rate of an array of frames; without it ``fps`` is. sampling: ``fps``, ``every_frame``, ``limit``, ``start``, ``end`` of
        :func:`vglamm.frames.choose`. mode: how masks are made: "video" (from frame 0 through memory, as published), "frames"
        (each alone) or "anchor" (from the clearest of some frames, both ways). keep: the image features
        of its grounding frames for further questions, if they are no more than ``config.pixel.cache``. Raises VideoError, or
        ConfigError for the mode.
        """
        return self._watch([video], mode=mode, source_fps=source_fps, keep=keep, **sampling)[0]

    def ask_many(
        self,
        requests: Sequence[tuple[Video, str]],
        *,
        batch: int = 4,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        **watching: Any,
    ) -> list[Answer]:
        """An answer to each (video, question), ``batch`` of them through vision and language together. Options as :meth:`ask`."""
        if batch < 1:
            raise ConfigError(f"batches of {batch} videos", "at least 1", "pass batch=4")
        answers: list[Answer] = []
        for first in range(0, len(requests), batch):
            videos, questions = zip(*requests[first : first + batch], strict=True)
            sessions = self._watch(videos, **watching)
            share = Clock()
            with share.run("language"):
                asked = [(session.tokens, (), question) for session, question in zip(sessions, questions, strict=True)]
                replies = self.language(asked, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
            for session, question, reply in zip(sessions, questions, replies, strict=True):
                session.clock.spent["language"] += share.spent["language"] / len(sessions)
                answers.append(session.ground(question, reply))
        return answers

    def correct(self, answer: Answer, track: int, marks: Marks, video: Video | None = None) -> Iterator[Row | Answer]:
        """Track the object of one phrase again from where a person marked it: (position, [its sight]) of each grounding frame, the
        marked one first, then those after it, then those before it; last the corrected Answer.

        marks: without a mask ``before``, the answer's own on that frame. video: where frames come from if not from
        ``answer.source``. Raises MaskError for marks or a track that the answer does not have.
        """
        frames = len(answer.sampling.grounding_indices)
        if not (0 <= track < len(answer.tracks) and 0 <= marks.position < frames):
            raise MaskError(
                f"track {track} on frame {marks.position}",
                f"one of {len(answer.tracks)} tracks on one of {frames} frames",
                "correct what the answer has",
            )
        if marks.before is None:
            marks = replace(marks, before=answer.tracks[track].rle[marks.position])
        clock = Clock()
        with clock.run("probe"):
            source = open_frames(answer.source if video is None else video, fps=answer.sampling.source_fps or None)
        chunks = grounding_source(source, answer.sampling, self.config)
        found: dict[int, list[Sight]] = {}
        rows = self.pixel.correct(lambda first, stop: clock.each("decode", chunks(first, stop)), frames, marks)
        for position, row in clock.each("pixel", rows):
            found[position] = row
            yield position, row
        [again] = tracks([found[position] for position in range(frames)], 1)
        yield corrected(answer, track, again, marks.position, clock.spent)

    def _watch(
        self,
        videos: Sequence[Video],
        *,
        mode: str = "video",
        source_fps: float | None = None,
        keep: bool = False,
        **sampling: Any,
    ) -> list[Session]:
        check_mode(mode)
        sessions: list[tuple[VideoSource, Sampling, VisionInput, Clock]] = []
        for video in videos:
            clock = Clock()
            with clock.run("probe"):
                rate = sampling.get("fps") if source_fps is None and isinstance(video, np.ndarray) else source_fps
                opened = open_frames(video, fps=rate)
                chosen = choose(opened, self.config, **sampling)
            with clock.run("decode"):
                sessions.append((opened, chosen, vision_input(opened, chosen, self.config), clock))
        share = Clock()
        with share.run("vision"):
            tokens = self.vision([given for _, _, given, _ in sessions])
        for _, _, _, clock in sessions:
            clock.spent["vision"] += share.spent["vision"] / len(sessions)
        return [
            Session(self, opened, chosen, seen, mode, clock, end=sampling.get("end"), keep=keep)
            for (opened, chosen, _, clock), seen in zip(sessions, tokens, strict=True)
        ]


class Session:
    """A video that was seen, and the turns about it so far. ``history``: (question, raw answer) of each turn. end: the option.
    keep: image features of grounding frames, from turn to turn."""

    def __init__(
        self,
        walk: Walk,
        source: VideoSource,
        sampling: Sampling,
        tokens: VisualTokens,
        mode: str,
        clock: Clock,
        *,
        end: float | None = None,
        keep: bool = False,
    ) -> None:
        self.walk, self.source, self.sampling, self.tokens, self.mode, self.clock = walk, source, sampling, tokens, mode, clock
        self.end = end
        chunks = grounding_source(source, sampling, walk.config)

        def timed(first: int, stop: int) -> Iterator[PixelInput]:  # knows no session, so that what is kept ends with it
            return clock.each("decode", chunks(first, stop))

        self._chunks = walk.pixel.footage(timed, len(sampling.grounding_indices)) if keep else timed
        self.history: list[tuple[str, str]] = []

    def ask(self, question: str, *, on_text: Callable[[str], None] | None = None, **writing: Any) -> Answer:
        """The answer to a question, which becomes a turn. on_text: called with each piece of raw text as it is written. writing:
        ``max_new_tokens``, ``temperature`` (0: greedy), ``seed``, and ``mode`` for this turn alone. Raises DialogueError."""
        for event in self.stream(question, **writing):
            if isinstance(event, Answer):
                return event
            if isinstance(event, str) and on_text is not None:
                on_text(event)
        raise DialogueError("a reply without an end", "an answer", "report this as a bug")

    def stream(
        self, question: str, *, mode: str | None = None, max_new_tokens: int | None = None, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[str | Phrase | Row | Answer]:
        """Pieces of raw text (str) as they are written and each phrase right after the piece with its ``[SEG]``; then (position,
        sights) of each grounding frame; last the Answer."""
        mode = check_mode(self.mode if mode is None else mode)
        asked = (self.tokens, tuple(self.history), question)
        reply: Reply | None = None
        raw, told = "", 0
        events = self.walk.language.stream(asked, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        for event in self.clock.each("language", events):
            if isinstance(event, str):
                raw += event
                yield event
            elif isinstance(event, Reply):
                reply = event
            else:
                yield replace(parse_reply(raw).phrases[-1], track=told)
                told += 1
        assert reply is not None, "a language stream ends with its Reply"
        rows = []
        for row in self._rows(reply, mode):
            rows.append(row[1])
            yield row
        yield self._answer(question, reply, tracks(rows, len(reply.prompts)))

    def ground(self, question: str, reply: Reply) -> Answer:
        """The Answer of a reply that was written elsewhere; it becomes a turn."""
        rows = [row for _, row in self._rows(reply, self.mode)]
        return self._answer(question, reply, tracks(rows, len(reply.prompts)))

    def _rows(self, reply: Reply, mode: str) -> Iterator[Row]:
        task = PixelTask(self._chunks, reply.prompts, len(self.sampling.grounding_indices), mode)
        return self.clock.each("pixel", self.walk.pixel.stream(task))

    def _answer(self, question: str, reply: Reply, found: tuple[Track, ...]) -> Answer:
        self.history.append((question, reply.raw))
        spent, self.clock.spent = self.clock.spent, Clock().spent
        return compose(
            question,
            reply,
            found,
            self.sampling,
            source=self.source.info.path,
            model=self.walk.name,
            end=end_of(self.source, self.end),
            timings=spent,
        )
