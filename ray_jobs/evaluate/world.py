"""Evaluation on the generated world: the walk's answers, then metrics.

Every question is asked as a user would, turn after turn about one clip, and scored in two mask modes: from frame 0 ("video", as
published) and from anchors; the text is the same in both. Controls ask the same questions of a model that sees another clip, or no
temporal tokens. They swap the visual tokens between two steps, which a bulk job never holds in one process: that is why this
evaluation stays on the walk, whose steps are those of the bulk job.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vglamm.answer import Answer
from vglamm.data.sample import Sample, Turn
from vglamm.data.world import make_sample
from vglamm.errors import ConfigError, VglammError
from vglamm.language.phrases import parse_reply
from vglamm.metrics.world import WorldResult, WorldScore, score_world
from vglamm.metrics.world_report import report_markdown, summarise
from vglamm.places import Place
from vglamm.records import VisualTokens
from vglamm.walk import Session, Walk

logger = logging.getLogger(__name__)
MODES = ("video", "anchor")
T = TypeVar("T")


@dataclass(frozen=True)
class WorldTask:
    """seeds ``seed .. seed + count - 1`` of the generated world. controls: also the blind control and, for questions about motion,
    the one without temporal tokens."""

    seed: int
    count: int
    level: str | None = None
    difficulty: str = "normal"
    controls: bool = True

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise ConfigError(f"seed {self.seed}, count {self.count}", "seed >= 0 and count >= 1", "fix the options")

    def samples(self) -> Iterator[Sample]:
        for seed in range(self.seed, self.seed + self.count):
            yield make_sample(seed, level=self.level, difficulty=self.difficulty)


def evaluate_world(walk: Walk, task: WorldTask, on_clip: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """A summary (see ``vglamm.metrics.world_report``) for each mask mode, and of the controls; questions, failed: how many were
    asked in all of these, and how many got no answer. on_clip: told (done, of)."""
    scores: dict[str, list[WorldScore]] = {mode: [] for mode in MODES}
    blind: dict[str, list[WorldScore]] = {mode: [] for mode in MODES}
    still: list[WorldScore] = []
    stranger: dict[bool, VisualTokens] = {}
    for done, sample in enumerate(task.samples(), start=1):
        session = _watch(walk, sample)
        own = session.tokens
        shown = stranger.get(sample.is_image) if task.controls else None
        for mode, found in _ask(session, sample, own, MODES).items():
            scores[mode] += found
        for mode, found in _ask(session, sample, shown, MODES).items() if shown is not None else ():
            blind[mode] += found
        stranger[sample.is_image] = own
        if task.controls and any(turn.kind == "motion" for turn in sample.turns):
            asked = _ask(session, sample, _without_time(walk, own), ("video",))
            still += [score for score in asked["video"] if score.kind == "motion"]
        if on_clip:
            on_clip(done, task.count)
    every = [*chain.from_iterable((*scores.values(), *blind.values())), *still]
    report: dict[str, Any] = {"task": asdict(task), "model": walk.name}
    report |= {"questions": len(every), "failed": sum(score.failed for score in every)}
    report |= {mode: summarise(scores[mode], blind=blind[mode] or None) for mode in MODES}
    if still:
        report["motion_without_temporal_tokens"] = summarise(still)
    return report


def write(report: dict[str, Any], folder: Path) -> dict[str, Path]:
    """``report.json`` and ``report.md`` in a folder; the same answers give the same bytes."""
    lines = [f"- {name}: `{value}`" for name, value in {"model": report["model"], **report["task"]}.items() if value is not None]
    parts = [(name, part) for name, part in report.items() if isinstance(part, dict) and "groups" in part]
    sections = [f"# {name.replace('_', ' ')}\n{report_markdown(part).partition(chr(10))[2]}" for name, part in parts]
    failed = f"{report['failed']} of {report['questions']} questions failed, those of the controls included."
    told = "\n".join(["Evaluation on the generated world.", "", *lines, "", failed, "", *sections])
    texts = {"report.json": json.dumps(report, indent=2) + "\n", "report.md": told}
    for name, text in texts.items():
        Place.of(folder / name).write(text.encode())
    return {name: folder / name for name in texts}


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """A report's means over all levels, by part, kind of question and metric, and how many questions there were."""
    found: dict[str, Any] = {}
    for part, summary in report.items():
        for group in summary["groups"] if isinstance(summary, dict) and "groups" in summary else ():
            if group["level"] is None:
                name = f"{part}/{group['kind'] or 'all'}"
                found |= {f"{name}/questions": group["questions"], f"{name}/failed": group["failed"]}
                found |= {f"{name}/{metric}": cell["mean"] for metric, cell in group["metrics"].items() if cell is not None}
    return found


def _watch(walk: Walk, sample: Sample) -> Session:
    frames = sample.frames[0] if sample.is_image else sample.frames
    return walk.watch(frames, every_frame=True, source_fps=sample.fps)


def _without_time(walk: Walk, tokens: VisualTokens) -> VisualTokens:
    vision = walk.config.vision
    blank = tokens.tokens.copy()
    blank[vision.frames * vision.spatial_pool**2 :] = 0
    return replace(tokens, tokens=blank)


def _ask(session: Session, sample: Sample, tokens: VisualTokens, modes: tuple[str, ...]) -> dict[str, list[WorldScore]]:
    """All turns of the sample in order, in a fresh history. A reply is written once: masks alone are made anew in each mode."""
    scores: dict[str, list[WorldScore]] = {mode: [] for mode in modes}
    past: list[tuple[str, str]] = []
    first = 0
    for turn in sample.turns:
        truth = sample.masks[first : first + len(turn.targets)]
        first += len(turn.targets)
        asked = (tokens, tuple(past), turn.question)
        replies = _tried(sample, turn, partial(session.walk.language, [asked]))
        past += [(turn.question, reply.raw) for reply in replies or ()]
        for mode in modes:
            session.mode = mode
            answer = _tried(sample, turn, partial(session.ground, turn.question, replies[0])) if replies else None
            scores[mode].append(score_world(_result(sample, turn, truth, answer)))
    return scores


def _tried(sample: Sample, turn: Turn, made: Callable[[], T]) -> T | None:
    """None for what fails: a question without an answer scores 0 and is counted, it does not end the evaluation."""
    try:
        return made()
    except VglammError as error:
        logger.warning("%s: %r failed: %s", sample.id, turn.question, error)
        return None


def _result(sample: Sample, turn: Turn, truth: Any, answer: Answer | None) -> WorldResult:
    scene = sample.meta
    assert scene is not None, "samples of the generated world carry their scene"
    said = np.zeros((0, *sample.masks.shape[1:]), np.bool_)
    if answer is not None and answer.tracks:
        said = np.stack([answer.masks(track) for track in range(len(answer.tracks))])
    expected = parse_reply(turn.answer)
    ids = [target if isinstance(target, int) else target[0] for target in turn.targets]
    twin = next((o for o in scene.twins or () if ids and o != ids[0] and ids[0] in (scene.twins or ())), None)
    return WorldResult(
        kind=turn.kind,
        level=sample.level,
        truth_masks=truth,
        predicted_masks=said,
        truth_text=turn.answer,
        predicted_text=answer.raw if answer else "",
        truth_phrases=tuple(phrase.text or "" for phrase in expected.phrases),
        predicted_phrases=tuple(phrase.text for phrase in answer.phrases) if answer else (),
        visible_at_start=tuple(bool(scene.objects[i - 1].visible[0]) for i in ids),
        foreground=scene.foreground,
        other_masks=np.stack([scene.mask(item.id) for item in scene.objects]),
        absent=turn.kind == "absent",
        twin_mask=scene.mask(twin) if twin is not None and turn.kind == "motion" else None,
        scene=sample.id,
        failed=answer is None,
    )
