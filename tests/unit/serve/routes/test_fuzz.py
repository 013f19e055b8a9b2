"""The OpenAPI document against the application: whatever it allows, and much that it does not, is answered without a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import Canned
from vglamm.media.limits import Limits

EXAMPLES = 10
"""Of each route, of what is valid and of what is not: a bounded run."""

PATHS = (
    "/v1/answers", "/v1/videos", "/v1/videos/{video}", "/v1/sessions/{session}", "/v1/sessions/{session}/corrections",
    "/v1/sessions/{session}/turns/{turn}/{file}", "/v1/exports", "/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/result",
    "/v1/chat/completions", "/v1/models", "/healthz", "/readyz",
)  # fmt: skip
GIVEN_NOTHING = ("/v1/models", "/healthz", "/readyz")
"""With nothing to get wrong."""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    spool = str(tmp_path_factory.mktemp("spool"))
    return api(Canned(spool, Limits(bytes=10**6)), Settings(spool=spool, names=("localhost", "testserver")))


@pytest.fixture(scope="module")
def described(application: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", application)


def operations(schema: Any, path: str) -> Iterator[Any]:
    for found in schema.get_all_operations():
        if found.ok().path == path:
            yield found.ok()


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, mode) for path in PATHS for mode in GenerationMode if path not in GIVEN_NOTHING or mode is GenerationMode.POSITIVE],
)
def test_no_request_makes_it_fail(described: Any, path: str, mode: GenerationMode) -> None:
    asked = list(operations(described, path))
    assert asked

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode) for operation in asked]))
    def attempt(case: Any) -> None:
        response = case.call()
        assert response.status_code < 500 or response.status_code == 503, (case, response.text)
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"code", "message", "request_id"}

    attempt()


def test_the_document_is_published_and_names_every_route(application: FastAPI) -> None:
    document = application.openapi()
    hidden = {"/", "/web/{name}", "/openapi.json"}
    assert {route.path for route in application.routes} - hidden == set(document["paths"])
    assert set(PATHS) | {"/v1/gallery", "/v1/gallery/{name}.mp4"} == set(document["paths"])
    answer = document["paths"]["/v1/answers"]["post"]
    assert set(answer["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert "text/event-stream" in answer["responses"]["200"]["content"]
