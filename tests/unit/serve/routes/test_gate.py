"""Who gets in, how much and how slowly, and what nobody is ever told."""

from __future__ import annotations

import ast
import asyncio
import base64
import hmac
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from serve.errors import STATUS, scrubbed, told
from serve.http.auth import OPEN
from serve.ingress import api
from serve.settings import MIB, Settings, Taken
from tests.unit.serve.canned import Canned, served, spooled
from tests.unit.serve.routes.asgi import dribbling, endless, headers_of, of, silent, talk
from vglamm import errors
from vglamm.errors import ConfigError, VglammError
from vglamm.media.limits import Limits

Connect = Callable[..., TestClient]
TOKEN = "a-token-of-enough-letters"
HEX = "0" * 32
VALUES = {"video": f"v-{HEX}", "session": f"s-{HEX}", "job": f"j-{HEX}", "turn": "0", "file": "answer.json", "name": "shapes"}


def every_route(app: object) -> list[tuple[str, str]]:
    """(method, path) of each, with its parameters filled in."""
    found = []
    for route in app.routes:  # type: ignore[attr-defined]
        found += [(method, route.path.format(**VALUES)) for method in sorted(route.methods)]
    return found


def test_every_route_but_health_wants_the_token(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = connect(token=TOKEN)
    routes = every_route(client.app)
    assert len(routes) > 20
    basic = base64.b64encode(b"me:wrong").decode()
    wrong = ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Token {TOKEN}", TOKEN, f"Basic {basic}", "Basic ===", "Bearer ü"]
    for method, path in routes:
        for value in wrong if path not in OPEN else ():
            response = client.request(method, path, headers=[(b"authorization", value.encode())] if value else [])
            assert response.status_code == 401, (method, path, value)
            assert response.headers["www-authenticate"] == ("Bearer" if path.startswith("/v1/") else 'Basic realm="vglamm"')
    assert [client.get(path).status_code for path in OPEN] == [200, 200]
    for scheme in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", "Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode()):
        assert client.get("/v1/models", headers={"Authorization": scheme}).status_code == 200
    assert client.get("/nosuch").status_code == 401
    assert TOKEN not in caplog.text


def test_who_is_not_ready_says_so_and_is_not_asked_at_every_knock(connect: Connect, canned: Canned) -> None:
    canned.is_ready = False
    client, looks = connect(token=TOKEN), []
    ready, canned.ready = canned.ready, lambda: looks.append(1) or ready()  # type: ignore[method-assign]
    for _ in range(20):
        response = client.get("/readyz")
        assert (response.status_code, response.json(), response.headers["retry-after"]) == (503, {"status": "waiting"}, "1")
    assert len(looks) < 20
    assert client.get("/healthz").status_code == 200


def test_an_application_under_a_prefix_has_the_same_rules(canned: Canned, settings: Settings) -> None:
    taken = replace(settings.taken, media=Limits(bytes=3 * MIB), json=MIB)
    app = api(canned, replace(settings, token=TOKEN, taken=taken))

    def ask(method: str, path: str, size: int = 0, **headers: str) -> int:
        async def under(scope, receive, send):
            await app(scope | {"root_path": "/films"}, receive, send)

        return asyncio.run(talk(under, method, f"/films{path}", of(b"x" * size), headers_of(**headers))).status

    assert [ask("GET", path) for path in (*OPEN, "/v1/models")] == [200, 200, 401]
    assert ask("POST", "/v1/videos", 2 * MIB, authorization=f"Bearer {TOKEN}") == 422  # no video, but not too large for one
    assert ask("POST", "/v1/exports", 2 * MIB, authorization=f"Bearer {TOKEN}", content_type="application/json") == 413


def test_tokens_are_compared_in_constant_time(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: seen.append((a, b)) or compare(a, b))
    connect(token=TOKEN).get("/v1/models", headers={"Authorization": "Bearer x"})
    assert seen == [(b"x", TOKEN.encode())]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_another_address_needs_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a token"):
        Settings(spool=str(tmp_path), host=host)
    with pytest.raises(ConfigError, match="at least 16"):
        Settings(spool=str(tmp_path), host=host, token="short")
    assert TOKEN not in repr(Settings(spool=str(tmp_path), host=host, token=TOKEN))


def test_a_server_that_listens_elsewhere_than_it_was_told_needs_a_token_too(tmp_path: Path) -> None:
    own, public = Settings(spool=str(tmp_path)), Settings(spool=str(tmp_path), host="0.0.0.0", token=TOKEN)
    for host in (None, "127.0.0.1", "localhost"):
        own.check(host)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        public.check(host)
        with pytest.raises(ConfigError, match="without a token"):
            own.check(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "::1", "[::1]"])
def test_this_machine_alone_needs_none(host: str, tmp_path: Path) -> None:
    Settings(spool=str(tmp_path), host=host)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:8000"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
        ({"host": "localhost:8000", "origin": "http://evil.example"}, 403),
        ({"host": "localhost:8000", "origin": "http://localhost:9000"}, 403),
        ({"host": "localhost:8000", "origin": "null"}, 403),
        ({"host": "localhost:8000", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "localhost:8000", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_and_other_names_get_nothing(client: TestClient, headers: dict[str, str], status: int) -> None:
    response = client.get("/v1/models", headers=headers)
    assert response.status_code == status
    assert "access-control-allow-origin" not in response.headers


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/?from=elsewhere", {}, 200),
        ("GET", "/", {"host": "evil.example"}, 403),
        ("GET", "/", {"origin": "http://evil.example"}, 403),
        ("GET", "/", {"sec-fetch-dest": "iframe"}, 403),
        ("GET", "/", {"sec-fetch-mode": "no-cors"}, 403),
        ("GET", "/", {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
        ("POST", "/", {}, 403),
        ("GET", "/v1/models", {}, 403),
        ("GET", "/web/app.js", {}, 403),
        ("GET", "//", {}, 403),
    ],
)
def test_a_link_of_another_site_leads_to_the_page_and_nowhere_else(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = client.request(method, f"http://testserver{path}", headers=LINK | headers)
    assert response.status_code == status
    assert ("<title>" in response.text) == (status == 200)


def test_a_link_of_another_site_needs_the_token(connect: Connect) -> None:
    assert connect(token=TOKEN).get("/", headers=LINK).status_code == 401


def test_cors_is_closed(client: TestClient) -> None:
    response = client.options("/v1/answers", headers={"Origin": "http://testserver", "Access-Control-Request-Method": "POST"})
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_every_response_has_its_id_and_forbids_what_it_does_not_need(client: TestClient) -> None:
    for path in ("/v1/models", "/nosuch", "/v1/videos/x", "/healthz", "/", "/openapi.json"):
        headers = client.get(path, headers={"X-Request-ID": "mine-1"}).headers
        assert headers["x-request-id"] == "mine-1"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    for bad in ("two words", "x" * 65, "a\tb", ""):
        assert client.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


@pytest.mark.parametrize("path", ["/v1/answers", "/v1/videos", "/v1/jobs", "/v1/chat/completions", "/v1/exports"])
@pytest.mark.parametrize("kind", ["application/json", "video/mp4", "multipart/form-data; boundary=x"])
def test_a_body_without_end_is_cut_off_at_the_limit(canned: Canned, settings: Settings, path: str, kind: str) -> None:
    taken = replace(settings.taken, media=Limits(bytes=2 * MIB), json=2 * MIB)
    app = api(canned, replace(settings, taken=taken))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' if "form" in kind else b""

    async def body():
        yield head
        async for chunk in endless(b"x" * 65_536):
            yield chunk

    exchange = asyncio.run(talk(app, "POST", path, body(), headers_of(content_type=kind, transfer_encoding="chunked")))
    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (413, "request_too_large")
    assert exchange.taken <= 2 * MIB + MIB
    assert spooled(Path(settings.spool)) == []


def test_a_body_that_says_it_is_too_large_is_not_read(canned: Canned, settings: Settings) -> None:
    app = api(canned, settings)
    headers = headers_of(content_type="video/mp4", content_length=str(10**12))
    exchange = asyncio.run(talk(app, "POST", "/v1/videos", endless(b"x"), headers))
    assert (exchange.status, exchange.taken) == (413, 0)


def test_over_a_real_socket_too(canned: Canned, settings: Settings) -> None:
    taken = replace(settings.taken, media=Limits(bytes=MIB))
    seen = []

    app = api(canned, replace(settings, taken=taken))

    async def counting(scope, receive, send):
        async def counted():
            message = await receive()
            seen.append(len(message.get("body", b"")))
            return message

        await app(scope, counted, send)

    def chunks():
        for _ in range(400):
            yield b"x" * 65_536

    with served(counting) as url, httpx2.Client(timeout=120) as client:
        response = client.post(f"{url}/v1/videos", content=chunks())
    assert response.status_code == 413
    assert sum(seen) <= 2 * MIB


@pytest.mark.parametrize("chunks", [silent, lambda: dribbling(0.02)])
@pytest.mark.parametrize("path", ["/v1/videos", "/v1/answers", "/v1/chat/completions"])
def test_a_slow_body_is_given_up(canned: Canned, settings: Settings, chunks: Callable, path: str) -> None:
    app = api(canned, replace(settings, taken=Taken(idle_seconds=0.2)))
    exchange = asyncio.run(talk(app, "POST", path, chunks(), headers_of(content_type="application/octet-stream")))
    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (408, "request_too_slow")
    assert spooled(Path(settings.spool)) == []


def test_a_client_that_does_not_read_stops_the_work(canned: Canned, settings: Settings, clip: Path) -> None:
    canned.held = True
    canned.go_on(1)

    async def both() -> None:
        app = api(canned, replace(settings, taken=Taken(idle_seconds=0.2)))
        head = headers_of(content_type="video/mp4")
        video = json.loads((await talk(api(canned, settings), "POST", "/v1/videos", of(clip.read_bytes()), head)).body)["video"]
        body = json.dumps({"video": video, "question": "who?", "stream": True}).encode()
        await talk(app, "POST", "/v1/answers", of(body), headers_of(content_type="application/json"), reads=False)

    asyncio.run(both())
    assert (canned.open, canned.steps) == (0, 1)


def test_one_client_has_so_many_requests_in_flight(canned: Canned, settings: Settings, clip: Path) -> None:
    canned.held = True
    with served(api(canned, replace(settings, taken=Taken(in_flight=2)))) as url, httpx2.Client(timeout=120) as client:
        video = client.post(f"{url}/v1/videos", content=clip.read_bytes()).json()["video"]
        asked = {"video": video, "question": "who?", "keep": False}
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(httpx2.post, f"{url}/v1/answers", json=asked, timeout=120) for _ in range(2)]
            assert all(canned.opened.acquire(timeout=60) for _ in range(2))
            refused = client.post(f"{url}/v1/answers", json=asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
            assert int(refused.headers["retry-after"]) >= 1
            assert client.get(f"{url}/healthz").status_code == 200
            canned.go_on()
            assert [answer.result().status_code for answer in answers] == [200, 200]
        assert client.post(f"{url}/v1/answers", json=asked).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/v1/nowhere", 404)])
def test_who_has_its_answer_may_ask_again_at_once(canned: Canned, settings: Settings, path: str, status: int) -> None:
    app, statuses = api(canned, replace(settings, taken=Taken(in_flight=1))), []

    async def impatient(scope, receive, send):
        async def sent(message):
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                statuses.append((await talk(app, "GET", path, of(), headers_of())).status)
            await send(message)

        await app(scope, receive, sent)

    statuses.append(asyncio.run(talk(impatient, "GET", path, of(), headers_of())).status)
    assert statuses == [status, status]


def test_every_error_that_a_client_can_cause_has_its_status() -> None:
    def leaves(kind: type[VglammError]) -> list[type[VglammError]]:
        below = kind.__subclasses__()
        return [kind, *(leaf for one in below for leaf in leaves(one))]

    tree = [kind for kind in leaves(VglammError) if kind.__module__ == errors.__name__]
    hidden = {kind.__name__ for kind in tree if told(kind("a", "b", "c")).status == 500}
    assert hidden == {
        "VglammError", "CorpusError", "CheckpointError", "ConfigError", "EnvironmentProblem", "ServeError", "AnswerTooSlow",
    }  # fmt: skip
    assert all(400 <= status <= 503 for status in STATUS.values())
    assert told(errors.CheckpointError("/models/x", "y", "z")).message == told(RuntimeError("/models/x")).message


@pytest.mark.parametrize(
    "text",
    [
        "got '/srv/spool/videos/v-1', damaged",
        "got s3://bucket/a?key=secret: no",
        "got /a b",
        "no file at '/x/y z'",
        "(file:///etc/x)",
    ],
)
def test_messages_hold_no_paths_and_addresses(text: str) -> None:
    assert "the file" in scrubbed(text)
    assert not {"srv", "bucket", "secret", "etc", "/a", "/x"} & set(scrubbed(text).replace("/", " /").split())


@pytest.mark.parametrize(
    "text", ["at most 3/4 of it", "24 frames/s", "got text/plain; expected video/mp4", "a / b", "e.g. <p> a </p> [SEG]"]
)
def test_other_slashes_stay(text: str) -> None:
    assert scrubbed(text) == text


def test_nothing_in_serve_pickles(repository: Path) -> None:
    for path in (repository / "serve").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "cloudpickle", "dill", "marshal", "shelve"} & {name.split(".")[0] for name in names}, path
