"""``/v1/jobs``: questions about long videos, answered in the background."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from serve.http.desk import Desk
from serve.http.uploads import body_of
from serve.routes.videos import FAILURES
from serve.schema import Answered, Job, JobRequest
from serve.store.jobs import tree
from serve.store.spool import JOBS, PATTERNS

Name = Annotated[str, Path(pattern=PATTERNS[JOBS])]


def add(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/jobs", status_code=202, tags=["jobs"], openapi_extra=body_of(JobRequest), responses=FAILURES, response_model=Job)
    async def begin(request: Request, response: Response) -> Any:
        """Ask in the background. The job survives this server; it is kept for a while after its end."""
        async with desk.intake.read(request, JobRequest) as (wanted, brought):
            desk.check_question(wanted.question)
            video = await desk.video(wanted.video, brought)
            record = await desk.jobs.add(video, desk.ask(wanted, wanted.question, video, request))
        response.headers["Location"] = f"/v1/jobs/{record['job']}"
        return tree(record)

    @app.get("/v1/jobs", tags=["jobs"], responses=FAILURES, response_model=list[Job])
    async def every() -> Any:
        """All jobs that are kept, the oldest first."""
        return [tree(record) for record in await desk.jobs.all()]

    @app.get("/v1/jobs/{job}", tags=["jobs"], responses=FAILURES, response_model=Job)
    async def look(job: Name) -> Any:
        """How far a job is."""
        return tree(await desk.jobs.get(job))

    @app.get("/v1/jobs/{job}/result", tags=["jobs"], responses=FAILURES, response_model=Answered)
    async def result(job: Name) -> Any:
        """The answer of a job that is done; 409 before."""
        return await desk.jobs.result(job)

    @app.delete("/v1/jobs/{job}", status_code=204, tags=["jobs"], responses=FAILURES)
    async def cancel(job: Name) -> None:
        """Cancel a job, or forget one that has ended."""
        await desk.jobs.cancel(job)
