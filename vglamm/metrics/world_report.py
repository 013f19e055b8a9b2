"""The summary of an evaluation on the generated world, as a plain dict for JSON and as Markdown tables.

Every mIoU stands beside the two baselines of :mod:`vglamm.metrics.world` and, if there was one, the blind control: the same model
asked the same questions while it is shown another video. A number that the control reaches too was not seen in the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from vglamm.errors import ConfigError
from vglamm.metrics.bootstrap import bootstrap_mean
from vglamm.metrics.world import WorldScore

METRICS = {
    "miou": "mIoU",
    "miou_everything": "mIoU if everything is marked",
    "miou_random": "mIoU of a random object",
    "miou_start": "mIoU, visible at start",
    "miou_start_everything": "the same if everything is marked",
    "miou_start_random": "the same of a random object",
    "j": "J",
    "f": "F",
    "jf": "J&F",
    "phrase_recall": "phrase recall",
    "text_exact": "text exact",
    "absent_right": "absent right",
    "missed": "there, but no mask",
    "twin_right": "right twin (chance .5)",
    "extra_masks": "masks too many",
}
"""Fields of a WorldScore that are averaged, and their titles."""

BASELINES = {name for name in METRICS if name.endswith(("_everything", "_random"))}


def summarise(
    scores: Iterable[WorldScore],
    blind: Iterable[WorldScore] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Means with bootstrap intervals for all questions, each kind, each level, and each kind at each level.

    Returns ``{"questions", "failed", "blind_questions", "confidence", "resamples", "seed", "groups"}``. A group is ``{"kind",
    "level", "questions", "failed", "metrics", "blind"}``, kind or level None where all are taken together. ``metrics`` and
    ``blind`` map every name in METRICS to ``{"mean", "low", "high", "n"}``, or to None where no question of the group has that
    number; ``blind`` is None without a control for the group. Raises ConfigError when there are no scores.
    """
    seen, control = list(scores), None if blind is None else list(blind)
    if not seen:
        raise ConfigError("no scores", "one or more evaluated questions", "evaluate at least one question")
    setup = {"confidence": confidence, "resamples": resamples, "seed": seed}
    groups = []
    for kind, level in _groups(seen):
        mine = [score for score in seen if _within(score, kind, level)]
        theirs = [score for score in control or () if _within(score, kind, level)]
        groups.append(
            {
                "kind": kind,
                "level": level,
                "questions": len(mine),
                "failed": sum(score.failed for score in mine),
                "metrics": _means(mine, confidence, resamples, seed),
                "blind": _means(theirs, confidence, resamples, seed) if theirs else None,
            }
        )
    failed = sum(score.failed for score in seen)
    return {"questions": len(seen), "failed": failed, "blind_questions": len(control or ()), **setup, "groups": groups}


def report_markdown(summary: dict[str, Any]) -> str:
    """The summary as Markdown: one section for each group, one row for each number that its questions have."""
    percent = f"{100 * summary['confidence']:g} %"
    lines = [
        "# Evaluation on the generated world",
        "",
        f"{summary['questions']} questions, {summary['failed']} failed (counted as 0). "
        f"Intervals: {percent}, bootstrap over scenes, {summary['resamples']} resamples, seed {summary['seed']}.",
    ]
    lines.append(
        f"Blind: the same questions asked of another video ({summary['blind_questions']} questions)."
        if summary["blind_questions"]
        else "Blind control: not run."
    )
    for group in summary["groups"]:
        lines += ["", *_section(group)]
    return "\n".join(lines) + "\n"


def _section(group: dict[str, Any]) -> list[str]:
    kind = "all kinds" if group["kind"] is None else group["kind"]
    level = "all levels" if group["level"] is None else f"level {group['level']}"
    lines = [f"## {kind}, {level}", "", f"{group['questions']} questions, {group['failed']} failed.", ""]
    lines += ["| | mean | interval | n | blind |", "|---|---|---|---|---|"]
    for name, title in METRICS.items():
        cell = group["metrics"][name]
        if cell is None:
            continue
        control = None if group["blind"] is None or name in BASELINES else group["blind"][name]
        beside = "-" if control is None else f"{control['mean']:.3f} [{control['low']:.3f}, {control['high']:.3f}]"
        lines.append(f"| {title} | {cell['mean']:.3f} | [{cell['low']:.3f}, {cell['high']:.3f}] | {cell['n']} | {beside} |")
    return lines


def _groups(scores: Sequence[WorldScore]) -> list[tuple[str | None, int | str | None]]:
    kinds = sorted({score.kind for score in scores})
    levels = sorted({score.level for score in scores}, key=lambda level: (isinstance(level, str), level))
    found = {(score.kind, score.level) for score in scores}
    out: list[tuple[str | None, int | str | None]] = [
        (None, None),
        *((kind, None) for kind in kinds),
        *((None, level) for level in levels),
    ]
    return out + [(kind, level) for kind in kinds for level in levels if (kind, level) in found]


def _within(score: WorldScore, kind: str | None, level: int | str | None) -> bool:
    return kind in (None, score.kind) and level in (None, score.level)


def _means(scores: Sequence[WorldScore], confidence: float, resamples: int, seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in METRICS:
        having = [(i, score) for i, score in enumerate(scores) if getattr(score, name) is not None]
        if not having:
            out[name] = None
            continue
        scenes = [score.scene or i for i, score in having]  # a question without a scene stands alone
        values = [float(getattr(score, name)) for _, score in having]
        out[name] = asdict(bootstrap_mean(values, scenes, confidence=confidence, resamples=resamples, seed=seed))
    return out
