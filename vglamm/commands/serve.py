"""`vglamm serve`: the endpoint and its page, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import err, out
from vglamm.errors import ConfigError


def serve(
    model: Annotated[
        str, typer.Option(help="A preset with weights, a checkpoint folder, a hub id, or models:/NAME@ALIAS of an MLflow registry.")
    ] = "tiny",
    more: Annotated[
        list[str] | None,
        typer.Option("--also", help="A further model as NAME=CHECKPOINT, to be asked for by name. Repeat for more."),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="What each part gets: laptop, one-gpu, eight-gpus, cluster, or a YAML file.")
    ] = "laptop",
    host: Annotated[str, typer.Option(help="Address to listen at. Any but this machine's own needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    token_file: Annotated[Path | None, typer.Option(help="File with the token that clients must show.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A host name that clients may use for this server. Repeat for more.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate (PEM) for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    url_host: Annotated[
        list[str] | None, typer.Option(help="A host that videos may be fetched from; none by default. Repeat for more.")
    ] = None,
    spool: Annotated[
        str, typer.Option(help="Where videos and sessions are kept: a folder, or an address of fsspec.")
    ] = "out/spool",
    tracking: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow: local, off, or the URI of a server. Default: local (out/serve) where mlflow is installed.",
        ),
    ] = None,
    registry: Annotated[str | None, typer.Option(help="MLflow registry for models:/ names. Default: MLflow's own.")] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster. Default: a Ray of this machine.")] = None,
) -> None:
    """Answer questions over HTTP, with a page to ask them on. Ctrl-C ends it."""
    if (tls_certificate is None) != (tls_key is None):
        raise ConfigError("one of --tls-certificate and --tls-key", "both or neither", "pass the other one")
    with ExitStack() as stack:
        with err().status("starting"):
            import serve.protected  # noqa: F401  # before Ray
            from serve.app import Args
            from serve.start import running

            args = Args(
                model=model,
                models=dict(_named(one) for one in more or ()),
                profile=profile,
                host=host,
                port=port,
                token_file=None if token_file is None else str(token_file),
                names=name or [],
                tls_certificate=None if tls_certificate is None else str(tls_certificate),
                tls_key=None if tls_key is None else str(tls_key),
                url_hosts=url_host or [],
                spool=spool,
                tracking=tracking or ("local" if find_spec("mlflow") else "off"),
                registry=registry,
            )
            url = stack.enter_context(running(args, ray))
        out().print(Text(url), soft_wrap=True)
        out().print(Text("Ctrl-C ends it", style="dim"))
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        told.wait()


def _named(text: str) -> tuple[str, str]:
    """NAME=CHECKPOINT."""
    name, equals, source = text.partition("=")
    if not equals or not name or not source:
        raise ConfigError(f"--also {text}", "NAME=CHECKPOINT", "write it like night=runs/night/step-2000")
    return name, source
