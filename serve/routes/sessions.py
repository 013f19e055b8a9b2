"""``/v1/sessions``: what was asked so far, corrections, the end."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from serve.contract import Correct
from serve.http.desk import Desk
from serve.routes.answers import STREAM, answered
from serve.routes.videos import FAILURES
from serve.schema import Correction, Session
from serve.store.spool import PATTERNS, SESSIONS
from vglamm.answer import Answer
from vglamm.errors import NotKept, RequestRefused

Name = Annotated[str, Path(pattern=PATTERNS[SESSIONS])]


def add(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/sessions/{session}", responses=FAILURES, response_model=Session)
    async def look(session: Name) -> Any:
        """The turns of a session."""
        return (await desk.sessions.load(session)).tree()

    @app.delete("/v1/sessions/{session}", status_code=204, responses=FAILURES)
    async def end(session: Name) -> None:
        """End a session; its video stays until it expires."""
        await desk.sessions.load(session)
        await desk.sessions.end(session)

    @app.post("/v1/sessions/{session}/corrections", responses=STREAM)
    async def correct(session: Name, correction: Correction, request: Request) -> Response:
        """Correct a mask by points or a box on one frame; it is tracked again from there, both ways."""
        found = await desk.sessions.load(session)
        answer = await desk.sessions.answer(found, correction.turn)
        check(correction, answer)
        points = tuple((x, y, bool(inside)) for x, y, inside in correction.points)
        asked = Correct(found.ask(correction.turn), answer, correction.track, correction.position, points, correction.box)
        return await answered(desk.sessions.correct(found, correction.turn, asked), request, correction.stream)


def check(correction: Correction, answer: Answer) -> None:
    """NotKept for a track or a frame that the answer has not; RequestRefused for a mark outside the picture, or none."""
    frames, (height, width) = len(answer.sampling.grounding_indices), answer.sampling.size
    if correction.track >= len(answer.tracks):
        raise NotKept(f"track {correction.track}", f"one of {len(answer.tracks)}, from 0", "look at the answer")
    if correction.position >= frames:
        raise NotKept(f"grounding frame {correction.position}", f"one of {frames}, from 0", "look at the answer's sampling")
    if not correction.points and correction.box is None:
        raise RequestRefused("a correction without a mark", "points, or a box", "mark the object")
    corners = [] if correction.box is None else [correction.box[:2], correction.box[2:]]
    for x, y in [*((x, y) for x, y, _ in correction.points), *corners]:
        if x > width or y > height:
            raise RequestRefused(f"a mark at {x:g}, {y:g}", f"inside {width} x {height} pixels", "use source pixels")
    if correction.box is not None and not (correction.box[0] < correction.box[2] and correction.box[1] < correction.box[3]):
        raise RequestRefused("a box without an area", "[x0, y0, x1, y1] with x0 < x1 and y0 < y1", "order its corners")
