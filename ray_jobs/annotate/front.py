"""What stands between the command line and a job: questions by name, the display of progress, tracking."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ray_jobs.annotate.manifest import Manifest, read_manifest
from ray_jobs.annotate.placing import check_places
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.remote import Endpoint, annotate_at
from ray_jobs.annotate.stages import Settings
from ray_jobs.annotate.summary import Progress, Summary, unlike
from ray_jobs.tracking import JobBooks
from vglamm import annotation
from vglamm.data.corpora import prompts
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.identity import load_config

if TYPE_CHECKING:
    from ray_jobs.annotate.run import BulkJob

PERIOD = 30.0
_PICTURES = 4

# What the shipped model was taught to hear: it knows the words of its own world only.
TINY_DESCRIBE, TINY_SEGMENT = "Describe the video.", "Segment the {name}."


@dataclass(frozen=True)
class Asked:
    """What the user asked for, before anything is read. retry: failed rows once more."""

    source: str
    out: str
    questions: tuple[str, ...]
    named: str | None
    settings: Settings
    profile: str
    limit: int | None = None
    shard: str | None = None
    retry: bool = False

    def manifest(self, answers: str | None = None) -> Manifest:
        """answers: the identity of the model that answers, if that is not here."""
        questions = self.questions
        if self.named:
            family = load_config(self.settings.model).name if answers is None else answers.partition("@")[0]
            questions = (*questions, *named_questions(self.named, family))
        return read_manifest(self.source, questions, self.out).limit(self.limit)

    def shares(self) -> tuple[int, int]:
        """(number, of) of ``--shard``; ConfigError if it is not i/n."""
        if self.shard is None:
            return 1, 1
        number, slash, of = self.shard.partition("/")
        if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
            raise ConfigError(f"--shard {self.shard}", "i/n with 1 <= i <= n", "write it like 2/8")
        return int(number), int(of)


def named_questions(name: str, family: str) -> tuple[str, ...]:
    """ "describe", or "segment:cat,dog" for a question about each, in the words that models of this name were taught."""
    world = family == "tiny"
    kind, colon, rest = name.partition(":")
    if kind == "describe" and not colon:
        return (TINY_DESCRIBE if world else prompts.DESCRIBE,)
    names = [one.strip() for one in rest.split(",") if one.strip()]
    if kind == "segment" and names:
        return tuple(TINY_SEGMENT.format(name=one) if world else prompts.refer_video(one) for one in names)
    raise ConfigError(f"--ask {name}", "describe, or segment: and a list of names", "write it like segment:cat,dog")


def run(
    asked: Asked,
    *,
    address: str | None,
    tracking: str,
    console: Console,
    endpoint: Endpoint | None = None,
    show: Callable[[Summary], None],
) -> Summary:
    """The whole job, its progress shown on ``console``. address: of a Ray cluster, None for one of this machine. endpoint: what
    answers instead of Ray, a server that runs already. show: is given what came of it, before books are kept."""
    job = job_of(asked, endpoint)
    books = JobBooks(tracking, "vglamm-annotate", asked.out)
    if endpoint is None:
        load_config(asked.settings.model)  # what is wrong with it is told before Ray starts
        summary = drive(job, address=address, console=console)
    else:
        with _display(console) as watch:
            summary = annotate_at(job, endpoint, watch)
    show(summary)
    with tempfile.TemporaryDirectory(prefix="vglamm-pictures-") as pictures:
        if summary.rows and books.open:  # a share may be empty
            _picture(asked.out, Path(pictures))
        books.keep(job.identity(), summary.to_tree(), Path(pictures))
    return summary


def job_of(asked: Asked, endpoint: Endpoint | None = None) -> BulkJob:
    """What is asked as a job. endpoint: as for :func:`run`."""
    from ray_jobs.annotate.run import BulkJob

    answers = None if endpoint is None else endpoint.identity()
    profile = load_profile(asked.profile)
    settings = replace(asked.settings, dtype=profile.dtype)
    return BulkJob(asked.manifest(answers), settings, profile, asked.out, asked.shares(), model=answers, retry=asked.retry)


def _picture(out: str, folder: Path) -> None:
    """The first grounded answers of a run as pictures. A video that is not on this machine has none."""
    made = 0
    for row in annotation.read(out):
        if row.answer is None or not row.answer.tracks or not Path(row.uri).exists():
            continue
        row.answer.save_overlay(folder / f"{row.position:08d}.png")
        made += 1
        if made == _PICTURES:
            return


def drive(job: BulkJob, *, address: str | None, console: Console) -> Summary:
    """A job, shown on ``console`` while it runs. address: as for :func:`run`.

    ConfigError for a profile that this Ray cannot run; EnvironmentProblem for a Ray that fails or comes no further, after which the
    same command goes on.
    """
    import ray
    from ray.exceptions import RayError

    from ray_jobs.annotate.run import annotate, connect

    connect(address)
    check_places(job.profile, ray.nodes())
    try:
        with _display(console) as watch:
            return annotate(job, watch)
    except RayError as error:
        again = "`ray status` and the log tell more; then the same command goes on"
        last = (str(error).strip().splitlines() or [""])[-1]
        raise EnvironmentProblem(f"a Ray that failed ({type(error).__name__}: {last})", "one that works", again) from error


@contextlib.contextmanager
def _display(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A live table on a terminal; elsewhere one JSON line every 30 s and one at the end."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda progress: live.update(table(progress))
        return
    latest: list[Progress] = []
    said = time.monotonic()

    def line(progress: Progress) -> None:
        nonlocal said
        latest[:] = [progress]
        if time.monotonic() - said >= PERIOD:
            said = time.monotonic()
            console.print(json.dumps(progress.to_tree()), markup=False, soft_wrap=True)

    yield line
    if latest:
        console.print(json.dumps(latest[0].to_tree()), markup=False, soft_wrap=True)


def table(progress: Progress) -> Table:
    """Each stage: what it did, what waits before it, what failed, its pace."""
    tree = progress.to_tree()
    left = "" if tree["left_seconds"] is None else f", about {clock(tree['left_seconds'])} left"
    title = f"{progress.done} of {progress.videos} videos, {clock(progress.seconds)}{left}"
    shown = Table("stage", "done", "queued", "failed", "videos/s", title=title, header_style="bold", title_justify="left")
    for name in progress.names:
        stage = tree["stages"].get(name, {"done": 0, "queued": 0, "failed": 0, "per_second": 0.0})
        shown.add_row(name, str(stage["done"]), str(stage["queued"]), str(stage["failed"]), f"{stage['per_second']:.2f}")
    return shown


def told(summary: Summary) -> Table:
    """The end of a run in a few lines."""
    run = summary.to_tree()["this_run"]
    shown = Table.grid(padding=(0, 2))
    shown.add_row("rows", ", ".join(f"{count} {name}" for name, count in summary.rows.items()))
    if summary.skipped:
        shown.add_row("skipped", Text(unlike(summary.skipped)))
    if summary.failed:
        shown.add_row("failed", f"{summary.failed} rows; the same command with --retry-failed asks them once more")
    shown.add_row("this run", f"{run['videos']} videos in {clock(run['seconds'])}, {run['done_before']} were done before")
    shown.add_row("pace", ", ".join(f"{value:g} {name}/s" for name, value in run["per_second"].items() if value is not None))
    return shown


def clock(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
