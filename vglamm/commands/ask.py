"""`vglamm ask`: questions about one video, its answers on the terminal and in files."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from vglamm.commands.given import refuse
from vglamm.commands.screen import err, out
from vglamm.config import text_of
from vglamm.errors import ConfigError

if TYPE_CHECKING:
    from vglamm.answer import Answer
    from vglamm.media.read import VideoSource

THERE = ("server_model", "token_file")
"""Options that are about an endpoint."""
OVERLAYS = (".mp4", ".html", ".png")


class Mode(StrEnum):
    """How masks are made: tracked from frame 0, on each frame alone, or tracked from the frame that shows most."""

    video = "video"
    frames = "frames"
    anchor = "anchor"


def ask(
    context: typer.Context,
    video: Annotated[str, typer.Argument(help="A video or image file.", show_default=False)],
    questions: Annotated[list[str], typer.Argument(help="One or more questions: turns about one video.", show_default=False)],
    model: Annotated[str, typer.Option(help="A preset with weights, a checkpoint folder, or a hub id.")] = "tiny",
    fps: Annotated[float | None, typer.Option(help="Frames per second to make masks for. Default: the model's own rate.")] = None,
    every_frame: Annotated[bool, typer.Option("--every-frame", help="Make a mask for every frame.")] = False,
    start: Annotated[float | None, typer.Option(min=0.0, help="Look from this second on, counted from the first frame.")] = None,
    end: Annotated[float | None, typer.Option(min=0.0, help="Look up to this second, counted from the first frame.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="Track from frame 0, mask each frame alone, or track from the clearest frame.")
    ] = Mode.video,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: as saved.")] = None,
    quantise: Annotated[str | None, typer.Option(help="8bit or 4bit, for the language model.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the answer (a list for several questions) as JSON; - for stdout.")
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Show the answer in a file: .mp4, .html or .png.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy; above it, words are drawn.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of an answer at most. Default: the model's.")] = None,
    server: Annotated[str | None, typer.Option(help="URL of an endpoint that answers, instead of a model here.")] = None,
    server_model: Annotated[str, typer.Option(help="Name of the model there. Default: its default one.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the token that the endpoint wants.")] = None,
) -> None:
    """Ask about a video: text whose phrases are tied to masks through time."""
    if server is None:
        refuse(context, THERE, "without --server", "the URL of an endpoint")
    else:
        refuse(context, ("model", "device", "dtype", "quantise"), "with --server", "what the endpoint was started with")
    if every_frame and fps is not None:
        raise ConfigError(f"--every-frame and --fps {fps:g}", "one of them", "drop one")
    if overlay is not None and overlay.suffix.lower() not in OVERLAYS:
        raise ConfigError(f"--overlay {overlay}", f"a name ending in {', '.join(OVERLAYS)}", "rename it")
    from vglamm.places import check_target

    piped = json is not None and str(json) == "-"
    overlays = [numbered(overlay, number) for number in range(1, len(questions) + 1)] if overlay is not None else []
    if json is not None and not piped:
        check_target("--json", json, video)
    for path in overlays:
        check_target("--overlay", path, video)
    screen = err() if piped else out()
    watching = {"fps": fps, "every_frame": every_frame, "start": start, "end": end, "mode": mode.value}
    if server is not None:
        if overlay is not None:
            opened(video, overlay)  # it is painted on the frames that are here
        session = _asked_there(server, token_in(token_file), server_model, video, watching)
    else:
        source = opened(video, overlay)  # before the model: a wrong path is told at once
        keep = len(questions) > 1
        session = _asked_here(model, video, source, {**watching, "keep": keep}, device=device, dtype=dtype, quantise=quantise)
    writing = {"temperature": temperature, "seed": seed, "max_new_tokens": max_new_tokens}
    with nullcontext() if server is None else closing(session):
        answers = [_turn(screen, session, question, **writing) for question in questions]
    if json is not None:  # first: it costs nothing, and painting may fail
        write_json(answers, None if piped else json)
    for target, answer in zip(overlays, answers, strict=overlay is not None):
        with err().status(f"writing {target}"):
            answer.save_overlay(target)
        screen.print(f"wrote {target}", markup=False, style="dim")


def opened(video: str, overlay: Path | None) -> VideoSource:
    """The video, examined. ConfigError if it cannot be shown as the overlay is to be."""
    from vglamm.media.read import open_video

    with err().status(f"opening {video}"):
        source = open_video(video)
    if source.info.is_image and overlay is not None and overlay.suffix.lower() == ".mp4":
        raise ConfigError(f"--overlay {overlay} of an image", "a name ending in .png or .html", "rename it")
    return source


def _asked_here(model: str, video: str, source: VideoSource, watching: dict[str, Any], **settings: Any) -> Any:
    """A session of the walk about the video."""
    import vglamm

    with err().status(f"loading {model}"):
        walk = vglamm.load(model, **settings)
    with err().status(f"looking at {video}"):
        return walk.watch(source, **watching)


def _asked_there(server: str, token: str | None, model: str, video: str, watching: dict[str, Any]) -> Any:
    """The same on an endpoint, to which the video is sent."""
    from serve.client import Client, Talk
    from serve.contract import Watching
    from vglamm.media.limits import Limits

    Limits().check_file(video)
    with err().status(f"sending {video}"):
        return Talk(Client(server, token), video, Watching(**watching), model)


def token_in(path: Path | None) -> str | None:
    """The token in a file; on the command line anybody on the machine could read it."""
    if path is None:
        return None
    token = text_of(path).strip()
    if not token:
        raise ConfigError(f"an empty file, {path}", "a token", "write it there")
    return token


def _turn(screen: Console, session: Any, question: str, **settings: Any) -> Answer:
    """One question and its answer, its words shown as they come if somebody is looking."""
    from vglamm.commands.show import shown

    if screen.is_terminal:
        from rich.live import Live
        from rich.text import Text

        from vglamm.language.phrases import parse_reply

        raw: list[str] = []
        with Live(Text("..."), console=screen, transient=True) as live:

            def stream(piece: str) -> None:
                raw.append(piece)
                live.update(Text(parse_reply("".join(raw)).text))

            answer: Answer = session.ask(question, on_text=stream, **settings)
    else:
        answer = session.ask(question, **settings)
    screen.print(shown(answer))
    return answer


def numbered(path: Path, number: int) -> Path:
    """The file of the question with this number: ``a.mp4``, ``a-2.mp4``, ``a-3.mp4``."""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def write_json(answers: list[Answer], path: Path | None) -> None:
    """One answer as an object, several as a list, to a file or (None) to standard output."""
    texts = [answer.to_json(indent=2) for answer in answers]
    whole = texts[0] if len(texts) == 1 else "[\n" + ",\n".join(texts) + "\n]"
    if path is None:
        sys.stdout.write(whole + "\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(whole + "\n", encoding="utf-8")
