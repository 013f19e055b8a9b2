"""`vglamm annotate`: many videos, each question answered with text and masks, one row for each."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from vglamm.commands.ask import THERE, Mode, token_in
from vglamm.commands.given import refuse
from vglamm.commands.screen import err, out
from vglamm.errors import ConfigError

if TYPE_CHECKING:
    from ray_jobs.annotate.summary import Summary


def annotate(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, a glob, or a table (Parquet, JSONL, CSV) with a column uri and, as it likes, id, question, questions, "
            "fps, limit, start, end and columns to pass through. Local, or any address that pyarrow or fsspec knows.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option("--out", help="The folder of the run: results, and what is needed to go on.")],
    question: Annotated[
        list[str] | None, typer.Option(help="Asked of every video that the table gives none. Repeat for more.")
    ] = None,
    ask: Annotated[str | None, typer.Option(help="A named set of questions: describe, or segment:cat,dog,car.")] = None,
    model: Annotated[str, typer.Option(help="A preset with weights, a checkpoint folder, or a hub id.")] = "tiny",
    profile: Annotated[
        str, typer.Option(help="What each stage gets: laptop, one-gpu, eight-gpus, cluster, or a YAML file.")
    ] = "laptop",
    fps: Annotated[float | None, typer.Option(help="Frames per second to make masks for. Default: the model's own rate.")] = None,
    every_frame: Annotated[bool, typer.Option("--every-frame", help="Make a mask for every frame.")] = False,
    mode: Annotated[Mode, typer.Option(help="How masks are made, as for ask.")] = Mode.video,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of an answer at most. Default: the model's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first videos.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only the share i/n of the videos; runs of all shares fill one --out.")] = None,
    max_failed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of failed rows above which the exit code is 1.")] = 0.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask what has failed once more, beside what is missing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and measure on two videos how long it will take.")] = False,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster. Default: a Ray of this machine.")] = None,
    tracking: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow: local, off, or the URI of a server.")
    ] = "off",
    server: Annotated[str | None, typer.Option(help="URL of an endpoint that answers, instead of Ray and a model here.")] = None,
    server_model: Annotated[str, typer.Option(help="Name of the model there. Default: its default one.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the token that the endpoint wants.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, help="Videos that the endpoint is asked about at a time.")] = 4,
) -> None:
    """Annotate many videos; the same command again does only what is missing."""
    if server is None:
        refuse(context, (*THERE, "in_flight"), "without --server", "the URL of an endpoint")
    else:
        refuse(context, ("model", "profile"), "with --server", "what the endpoint was started with")
    if every_frame and fps is not None:
        raise ConfigError(f"--every-frame and --fps {fps:g}", "one of them", "drop one")
    if fps is not None and not fps > 0:
        raise ConfigError(f"--fps {fps:g}", "a number above 0", "leave it out for the model's own rate")
    if server is not None and ray is not None:
        raise ConfigError("--server and --ray", "one of them", "drop one")
    from ray_jobs.annotate import front
    from ray_jobs.annotate.forecast import forecast
    from ray_jobs.annotate.stages import Settings

    sampling = {"every_frame": True} if every_frame else {} if fps is None else {"fps": fps}
    asked = front.Asked(
        source=source,
        out=target,
        questions=tuple(question or ()),
        named=ask,
        settings=Settings(model, sampling, mode.value, max_new_tokens),
        profile=profile,
        limit=limit,
        shard=shard,
        retry=retry_failed,
    )
    with ExitStack() as stack:
        endpoint = None
        if server is not None:
            from serve.bulk import Remote

            endpoint = stack.enter_context(closing(Remote(server, token_in(token_file), model=server_model, at_once=in_flight)))
        if dry_run:
            out().print(forecast(asked, endpoint))
            return

        def show(summary: Summary) -> None:
            out().print(front.told(summary))
            out().print(Text(f"out       {target}", style="dim"))

        summary = front.run(asked, address=ray, tracking=tracking, console=err(), endpoint=endpoint, show=show)
    if summary.failed_share > max_failed:
        err().print(Text(f"{summary.failed_share:.1%} of the rows failed (--max-failed {max_failed:.1%})", style="red"))
        raise typer.Exit(1)
