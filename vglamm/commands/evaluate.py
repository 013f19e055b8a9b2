"""`vglamm evaluate`: the model on a set whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.text import Text

from vglamm.commands.ask import Mode
from vglamm.commands.given import refuse
from vglamm.commands.scores import numbers, write_json
from vglamm.commands.scores import world as world_table
from vglamm.commands.screen import err, out
from vglamm.errors import ConfigError

if TYPE_CHECKING:
    from ray_jobs.evaluate.corpora import Outcome

WORLD = "world"
_WORLD = ("count", "level", "difficulty", "controls", "device", "json")
_SETS = (
    *("data", "images", "split", "profile", "limit", "mode", "max_new_tokens", "similarity", "clair_url", "clair_model"),
    *("clair_key_env", "submission", "max_failed", "retry_failed", "ray"),
)
_FIRST_CLIP = 700_000_000


class Difficulty(StrEnum):
    """Settings of the generated world."""

    easy = "easy"
    normal = "normal"
    hard = "hard"


_SET, _OWN = "A set of the literature", "The generated world"


def evaluate(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            help="world (generated clips), or a set: gcg, mevis, ref_youtube_vos, ref_davis17, vidstg, hcstvg, refcoco, reason_seg "
            "and the others of docs/evaluate.md.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(help="A preset with weights, a checkpoint folder, or a hub id.")] = "tiny",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of a set: seed of the intervals, by default 0. Of the world: the first clip, by default "
            f"{_FIRST_CLIP}; training takes low numbers, so stay far above them.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Root of the video sets.", rich_help_panel=_SET)] = None,
    images: Annotated[str | None, typer.Option(help="Root of the image sets. Default: as --data.", rich_help_panel=_SET)] = None,
    split: Annotated[str | None, typer.Option(help="Default: the one that is usually scored.", rich_help_panel=_SET)] = None,
    target: Annotated[
        Path | None, typer.Option("--out", help="The folder of the report, and of a set's answers and records.")
    ] = None,
    profile: Annotated[
        str,
        typer.Option(help="What each stage gets: laptop, one-gpu, eight-gpus, cluster, or a YAML file.", rich_help_panel=_SET),
    ] = "laptop",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first cases.", rich_help_panel=_SET)] = None,
    mode: Annotated[Mode, typer.Option(help="How masks are made; published: video.", rich_help_panel=_SET)] = Mode.video,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of an answer at most; published: 512. Default: the model's.", rich_help_panel=_SET),
    ] = None,
    similarity: Annotated[
        str | None,
        typer.Option(
            help="Encoder that compares phrases (gcg): exact, a folder or a hub name; published: bert-base-uncased. Default: one "
            "that needs no network.",
            rich_help_panel=_SET,
        ),
    ] = None,
    clair_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible API whose model judges captions (gcg).", rich_help_panel=_SET)
    ] = None,
    clair_model: Annotated[str | None, typer.Option(help="The judge's name there.", rich_help_panel=_SET)] = None,
    clair_key_env: Annotated[
        str | None, typer.Option(help="The environment variable that holds its key.", rich_help_panel=_SET)
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(help="The zip, of a split that a server scores. Default: OUT/submission.zip.", rich_help_panel=_SET),
    ] = None,
    max_failed: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of failed cases above which the exit code is 1.", rich_help_panel=_SET),
    ] = 0.0,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Ask what has failed once more, beside what is missing.", rich_help_panel=_SET),
    ] = False,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster. Default: a Ray of this machine.", rich_help_panel=_SET)
    ] = None,
    tracking: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow: local, off, or the URI of a server.")
    ] = "off",
    count: Annotated[int, typer.Option(min=1, help="Clips.", rich_help_panel=_OWN)] = 100,
    level: Annotated[str | None, typer.Option(help="shapes, things or mixed. Default: as they come.", rich_help_panel=_OWN)] = None,
    difficulty: Annotated[Difficulty, typer.Option(help="How hard scenes are.", rich_help_panel=_OWN)] = Difficulty.normal,
    controls: Annotated[
        bool, typer.Option(help="Also ask while another video, or no motion, is shown.", rich_help_panel=_OWN)
    ] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=_OWN)] = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write the whole report as JSON.", rich_help_panel=_OWN)] = None,
) -> None:
    """Score a model on a set whose answers are known: published and corrected numbers side by side.

    The same command again asks only what is missing.
    """
    refuse(
        context,
        *(
            (_SETS, f"with {WORLD}", "it with a set of docs/evaluate.md")
            if task == WORLD
            else (_WORLD, f"with {task}", f"it with {WORLD}")
        ),
    )
    if task == WORLD:
        _world(model, _FIRST_CLIP if seed is None else seed, count, level, difficulty, controls, device, json, target, tracking)
        return
    from ray_jobs.evaluate import corpora
    from ray_jobs.evaluate.asked import Asked, Texts
    from ray_jobs.evaluate.plan import Cases

    cases = Cases.of(task, data, images, split, limit)
    if target is None:
        raise ConfigError(f"{task} without --out", "a folder for answers and report", "pass --out FOLDER")
    texts = Texts(similarity, clair_url, clair_model, clair_key_env)
    how = (profile, mode.value, max_new_tokens, texts, seed or 0, submission, max_failed, retry_failed)
    asked = Asked(cases, model, target, *how)

    def show(done: Outcome) -> None:
        for table in numbers(done.body):
            out().print(table)
        _name(done.files)

    done = corpora.run(asked, address=ray, tracking=tracking, console=err(), show=show)
    if done.failed_share > max_failed:
        kept = "" if done.files else "; no submission was written"
        told = f"{done.failed} of {done.cases} cases failed (--max-failed {max_failed:.1%}){kept}"
        err().print(Text(told, style="red"))
        raise typer.Exit(1)


def _name(files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        out().print(Text(f"{name}  {path}", style="dim"))


def _world(
    model: str,
    seed: int,
    count: int,
    level: str | None,
    difficulty: Difficulty,
    controls: bool,
    device: str,
    json: Path | None,
    target: Path | None,
    tracking: str,
) -> None:
    import vglamm
    from ray_jobs.evaluate.world import WorldTask, evaluate_world
    from ray_jobs.evaluate.world import numbers as means
    from ray_jobs.evaluate.world import write as write_report
    from ray_jobs.tracking import JobBooks

    books = JobBooks(tracking, "vglamm-evaluate", str(target or WORLD))
    task = WorldTask(seed, count, level=level, difficulty=difficulty.value, controls=controls)
    with err().status(f"loading {model}"):
        walk = vglamm.load(model, device=device)
    with Progress(console=err(), transient=True) as progress:
        bar = progress.add_task(f"asking {model}", total=count)
        report = evaluate_world(walk, task, lambda done, of: progress.update(bar, completed=done, total=of))
    for part, summary in report.items():
        if isinstance(summary, dict) and "groups" in summary:
            out().print(world_table(part.replace("_", " "), summary))
    files = {} if target is None else write_report(report, target)
    if json is not None:
        write_json(json, report)
        files["json"] = json
    _name(files)
    settings = {"task": WORLD, "model": report["model"], **report["task"]}
    books.keep(settings, means(report), files=tuple(files.values()))
    if report["failed"]:
        told = f"{report['failed']} of {report['questions']} questions failed, those of the controls included"
        err().print(Text(told, style="red"))
        raise typer.Exit(1)
