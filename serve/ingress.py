"""The application: every route over a backend, behind one gate."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from serve.attend import ClientLeft
from serve.contract import Backend
from serve.errors import INTERNAL, told
from serve.http.bodies import BoundedRoute
from serve.http.desk import Desk
from serve.http.gate import HEADERS, Gate, Hook, unheard
from serve.routes import about, answers, chat, exports, jobs, page, sessions, videos
from serve.settings import Settings
from vglamm.errors import VglammError

log = logging.getLogger(__name__)


def api(backend: Backend, settings: Settings, hook: Hook = unheard) -> FastAPI:
    """backend: what answers. hook: told of every request. The application works on jobs and drops what expired while it lives."""
    desk = Desk.of(backend, settings)
    app = FastAPI(title="vglamm", version="1", docs_url=None, redoc_url=None, lifespan=_lifespan, redirect_slashes=False)
    app.router.route_class = BoundedRoute
    app.state.desk, app.state.tasks = desk, []
    app.add_middleware(Gate, settings=settings, hook=hook)
    for kind in (VglammError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(ClientLeft, _left)
    app.add_exception_handler(Exception, _failed)
    for part in (answers, videos, sessions, exports, jobs, chat, about):
        part.add(app, desk)
    page.add(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    desk: Desk = app.state.desk
    tasks = app.state.tasks = [asyncio.create_task(desk.sweep()), asyncio.create_task(desk.jobs.work())]
    for task in tasks:
        task.add_done_callback(_ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("jobs or expiry have ended", exc_info=task.exception())


def well(app: FastAPI) -> bool:
    """Whether jobs are still worked on, and what expired is still dropped."""
    return not any(task.done() for task in app.state.tasks)


async def _refused(request: Request, error: Exception) -> Response:
    request_id = request.state.request_id
    log.info("%s: %s", request_id, error)
    return told(error).response(request_id)


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads it; the log and the metrics do."""
    return Response(status_code=499)


async def _failed(request: Request, error: Exception) -> Response:
    """A bug of ours. Starlette raises it again, so that the server logs its traceback."""
    response = INTERNAL.response(request.state.request_id)
    response.headers.update(HEADERS)
    return response
