"""Evaluation on the sets of the literature: bulk annotation of a split, then scores in both modes, or zips for the set's server.

    OUT/answers         the run of bulk annotation: what is there is not asked again
    OUT/links           folders of links, of sets whose own folders hold frames that are not asked about
    OUT/records.jsonl   a line for each case: its numbers in both modes, or why it has none
    OUT/report.json     the numbers, published and corrected, with intervals and provenance
    OUT/report.md       the same for people

Reports hold no time, path or machine: the same answers give the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ray_jobs.annotate.manifest import Manifest
from ray_jobs.evaluate.asked import Asked
from ray_jobs.evaluate.handing_in import hand_in
from ray_jobs.evaluate.plan import Plan, make_plan
from ray_jobs.evaluate.scoring import report, score_all
from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.metrics.report import Body, Provenance, to_json, to_markdown
from vglamm.metrics.score import OK, Record, Resampling
from vglamm.metrics.tasks import Settings, find_task
from vglamm.places import Place

Annotate = Callable[[Manifest], Iterable[Annotation]]
"""Answers a manifest: one row for each question, in order. :func:`on_ray` makes the real one."""


@dataclass(frozen=True)
class Outcome:
    """cases, failed: how many. body: the report, None where a server scores. files: what was written, by name."""

    cases: int
    failed: int
    body: Body | None
    files: Mapping[str, Path]

    @property
    def failed_share(self) -> float:
        return self.failed / self.cases


def evaluate(asked: Asked, annotate: Annotate, *, model: str, commit: str = "", dtype: str | None = None) -> Outcome:
    """Ask every case, then score them all. model: what the report calls it (:func:`vglamm.checkpoint.identity`).

    Raises ConfigError for options that do not fit, CorpusError for a set that cannot be read or of which no case can be asked, and
    what ``annotate`` raises. A case that fails raises nothing: it is counted.
    """
    judges = asked.check()
    plan = make_plan(asked.cases, asked.out.absolute() / "links")  # workers read them from elsewhere
    rows = annotate(plan.manifest)
    if asked.server is not None:
        done = hand_in(asked.server, asked.cases, rows, asked.zip, asked.max_failed)
        return Outcome(done.cases, done.failed, None, done.files)
    task = find_task(asked.cases.task)
    records = score_all(task, asked.cases, rows)
    told = _provenance(asked, plan, model, commit, dtype)
    body = report(task, records, told, Settings(Resampling(seed=asked.seed), judges))
    texts = {"records.jsonl": _lines(records), "report.json": to_json(body), "report.md": to_markdown(body)}
    files = {name: _write(asked.out / name, text) for name, text in texts.items()}
    return Outcome(len(records), sum(record.status != OK for record in records), body, files)


def on_ray(asked: Asked, *, address: str | None, console: Console) -> Annotate:
    """The bulk job that answers a manifest into ``asked.out / "answers"``."""
    from ray_jobs.annotate import stages
    from ray_jobs.annotate.front import drive
    from ray_jobs.annotate.profile import load_profile
    from ray_jobs.annotate.run import BulkJob

    profile = load_profile(asked.profile)
    settings = stages.Settings(asked.model, {}, asked.mode, asked.max_new_tokens, dtype=profile.dtype)
    answers = str(asked.out / "answers")

    def annotate(manifest: Manifest) -> Iterable[Annotation]:
        drive(BulkJob(manifest, settings, profile, answers, retry=asked.retry), address=address, console=console)
        return annotation.read(answers)

    return annotate


def run(asked: Asked, *, address: str | None, tracking: str, console: Console, show: Callable[[Outcome], None]) -> Outcome:
    """The whole evaluation, its progress shown on ``console``.

    address: of a Ray cluster, None for one of this machine. tracking: of MLflow, as for ``vglamm annotate``. show: is given what
    came of it, before books are kept.
    """
    from ray_jobs.annotate.profile import load_profile
    from ray_jobs.tracking import JobBooks
    from vglamm import checkpoint

    asked.check()
    books = JobBooks(tracking, "vglamm-evaluate", str(asked.out))
    model = checkpoint.identity(asked.model)  # what is wrong with it is told before Ray starts
    dtype = load_profile(asked.profile).dtype
    done = evaluate(asked, on_ray(asked, address=address, console=console), model=model, commit=commit(), dtype=dtype)
    show(done)
    settings = {"task": asked.cases.task, "split": asked.cases.split, "model": model, "profile": asked.profile}
    settings |= {} if done.body is None else {"provenance": done.body["provenance"]}
    files = () if done.body is None else tuple(done.files.values())  # a submission is too large to keep twice
    books.keep(settings, numbers(done), files=files)
    return done


def numbers(done: Outcome) -> dict[str, Any]:
    """What an outcome has of numbers: of each mode, group and measure, and how many cases there were."""
    found: dict[str, Any] = {"cases": done.cases, "failed": done.failed}
    for section in (done.body or {"sections": []})["sections"]:
        for row in section["rows"]:
            for mode in ("published", "corrected"):
                if row[mode]["value"] is not None:
                    name = "/".join(part for part in (mode, section["group"], row["measure"]) if part)
                    found[name] = row[mode]["value"]
    return found


def commit() -> str:
    """The commit of this code, ``-dirty`` if it was changed since; "" outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60) if (root / ".git").exists() else None
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done else ""


def _provenance(asked: Asked, plan: Plan, model: str, commit: str, dtype: str | None) -> Provenance:
    decides = {"model": model, "mode": asked.mode, "max_new_tokens": asked.max_new_tokens, "dtype": dtype}
    config = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    more = {"version": importlib.metadata.version("vglamm"), "masks": asked.mode, "weights": dtype or "as stored"}
    more |= {"tokens at most": asked.max_new_tokens or "the model's own"}
    more |= {} if asked.cases.limit is None else {"only the first cases": asked.cases.limit}
    return Provenance(model, config, plan.digest[:16], asked.cases.split, commit, more=more)


def _lines(records: Iterable[Record]) -> str:
    return "".join(json.dumps(record.to_row(), sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n" for record in records)


def _write(path: Path, text: str) -> Path:
    """Under its name only when it is whole."""
    Place.of(path).write(text.encode())
    return path
