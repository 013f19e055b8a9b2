"""Task -> how its answers are scored and summed up, so that whoever runs the model only loops.

task = find_task("mevis")
records = [task.score(case, annotation) for case, annotation in answered]
part = task.summarise(records, Settings())
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vglamm.errors import ConfigError
from vglamm.metrics import conversation, conversation_report, davis, referring, spatiotemporal
from vglamm.metrics.conversation_report import Judges
from vglamm.metrics.score import Part, Record, Resampling

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.data.corpora.case import Case

Score = Callable[["Case", "Annotation | None"], Record]


@dataclass(frozen=True)
class Settings:
    """How records are summed up."""

    resampling: Resampling = field(default_factory=Resampling)
    judges: Judges = field(default_factory=Judges)


@dataclass(frozen=True)
class Task:
    """One evaluation.

    name: of the set, as :mod:`vglamm.data.corpora` calls it. title: for people. tables: key into
    :data:`vglamm.metrics.published.PUBLISHED`. score: one case and its row of annotation (None: it was not asked) to a record; it
    never raises for what an answer holds. summarise: all records to the rows of the report.
    """

    name: str
    title: str
    tables: str
    score: Score
    summarise: Callable[[Sequence[Record], Settings], Part]


def _plain(summarise: Callable[[Sequence[Record], Resampling], Part]) -> Callable[[Sequence[Record], Settings], Part]:
    """A summary that needs no judge."""
    return lambda records, settings: summarise(records, settings.resampling)


def _gcg(records: Sequence[Record], settings: Settings) -> Part:
    return conversation_report.summarise_conversations(records, settings.resampling, settings.judges)


def _tasks() -> list[Task]:
    videos = {"mevis": "MeViS", "ref_youtube_vos": "Ref-YouTube-VOS"}
    images = {
        "refclef": "RefCLEF",
        "refcoco": "RefCOCO",
        "refcoco+": "RefCOCO+",
        "refcocog": "RefCOCOg",
        "grefcoco": "gRefCOCO",
        "reason_seg": "ReasonSeg",
    }
    tubes = {"vidstg": "VidSTG", "hcstvg": "HC-STVG"}
    talks = {
        "gcg": "grounded conversation generation (video_gcg, mevis_gcg, vidstg_gcg)",
        "video_gcg": "grounded conversation generation, BURST and YouTube-VIS",
        "mevis_gcg": "grounded conversation generation, MeViS",
        "vidstg_gcg": "grounded conversation generation, VidSTG",
        "ytvos_gcg": "grounded conversation generation, Ref-YouTube-VOS",
        "hcstvg_gcg": "grounded conversation generation, HC-STVG",
        "anet_gcg": "grounded conversation generation, ActivityNet-Entities",
    }
    expression = _plain(referring.summarise_expressions)
    image = _plain(referring.summarise_images)
    space, time = _plain(spatiotemporal.summarise_in_space), _plain(spatiotemporal.summarise_in_time)
    return [
        *(Task(name, title, name, conversation.score_conversation, _gcg) for name, title in talks.items()),
        *(Task(name, title, name, referring.score_expression, expression) for name, title in videos.items()),
        Task("ref_davis17", "Ref-DAVIS17", "ref_davis17", davis.score_pass, _plain(davis.summarise_passes)),
        *(Task(name, title, name, referring.score_image, image) for name, title in images.items()),
        *(Task(name, title, name, spatiotemporal.score_in_space, space) for name, title in tubes.items()),
        *(
            Task(f"{name}_moment", f"{title} with the moment", f"{name}_moment", spatiotemporal.score_in_time, time)
            for name, title in tubes.items()
        ),
    ]


TASKS = {task.name: task for task in _tasks()}


def find_task(name: str) -> Task:
    """The task called ``name``. ConfigError names those there are."""
    if name not in TASKS:
        raise ConfigError(f"task {name!r}", f"one of {', '.join(sorted(TASKS))}", "check the name")
    return TASKS[name]
