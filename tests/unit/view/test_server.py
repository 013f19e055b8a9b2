"""The real server over HTTP: who gets in, what is refused, and what a row says."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from tests.unit.view.runs import answered, filmed, mixed, unanswered, write_run
from vglamm.annotation import Annotation
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.media import rle
from vglamm.view.server import Viewer
from vglamm.view.site import Site

NASTY = '</a><script>alert(1)</script><img src=x onerror="alert(2)">&amp; {{body}}'


class Client:
    """A reader who followed the printed address, or (``cookie`` empty) one who did not."""

    def __init__(self, viewer: Viewer, cookie: str) -> None:
        self.port, self.cookie = viewer.server_port, cookie

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers={"Cookie": self.cookie, **headers})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET", **headers: str) -> int:
        return self.ask(path, method, **headers)[0].status

    def text(self, path: str) -> str:
        response, body = self.ask(path)
        assert response.status == 200, body
        return body.decode()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    return filmed(tmp_path_factory.mktemp("film"), [41], size=64, first=300)[0]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory, film: Annotation) -> Iterator[Viewer]:
    rows = [*mixed(300), film, answered(301, NASTY + " <p> a dog </p> [SEG]", id=f"{NASTY}/../../etc/passwd", question=NASTY)]
    rows.append(unanswered(302, kind="RuntimeError", error=f"no parts, {NASTY}"))
    run = write_run(tmp_path_factory.mktemp("runs") / "night [1]", rows, parts=2, summary=True)
    (run / "secret.txt").write_text("a secret beside the run")
    with Viewer(Site(str(run))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client(viewer: Viewer) -> Client:
    response, _ = Client(viewer, "").ask(urlsplit(viewer.url).path + "?" + urlsplit(viewer.url).query)
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    return Client(viewer, cookie.partition(";")[0])


def test_it_listens_to_this_machine_alone(viewer: Viewer) -> None:
    assert viewer.server_address[0] == "127.0.0.1"
    assert viewer.url.startswith(f"http://127.0.0.1:{viewer.server_port}/?token=")


def test_strangers_get_nothing(viewer: Viewer) -> None:
    for cookie in ("", f"{viewer.cookie}=wrong", f"{viewer.cookie}=", "other=1", '="; ;;'):
        stranger = Client(viewer, cookie)
        for path in ("/", "/?token=wrong", "/row?id=v00000", "/video?id=v00000", "/view.js", "/nosuch"):
            response, body = stranger.ask(path)
            assert response.status == 403
            assert viewer.token.encode() not in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil.example:1"])
def test_another_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    assert client.status("/", Host=host) == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "localhost:1234", "LOCALHOST", "127.0.0.1"])
def test_its_own_names_are_answered(client: Client, host: str) -> None:
    assert client.status("/", Host=host) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_only_get(client: Client, method: str) -> None:
    response, _ = client.ask("/", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/view.css/../../server.py",
        "/player.js%00",
        "/view.html",
        "/part-00000.parquet",
        "/row?id=../secret.txt",
        "/row?id=/etc/passwd",
        "/row?id=%00",
        "/row?id=",
        "/row",
        "/row?id=v99999",
        "/video?id=../secret.txt",
        "/video?id=/etc/passwd",
        "/masks?id=v00003",
        "/black?id=",
    ],
)
def test_what_is_not_a_row_is_not_found(client: Client, path: str) -> None:
    response, body = client.ask(path)
    assert response.status == 404
    assert b"secret beside" not in body
    assert b"root:" not in body


@pytest.mark.parametrize(
    "path", ["/?status=done", "/?page=-1", "/?page=x", "/?page=1e3", "/?page=9999999999", "/?q=" + "a" * 201, "/?" + "a=1&" * 9]
)
def test_a_wrong_question_is_refused(client: Client, path: str) -> None:
    assert client.status(path) == 400


def test_a_request_that_is_no_http(viewer: Viewer, client: Client) -> None:
    for line in (b"GET http://[ HTTP/1.0\r\nHost: localhost\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=30) as connection:
            connection.sendall(line)
            connection.recv(1 << 16)
    assert client.status("/") == 200


def test_every_answer_forbids_what_it_does_not_need(client: Client) -> None:
    for path in ("/", "/row?id=v00000", "/view.js", "/nosuch", "/masks?id=v00000"):
        headers = client.ask(path)[0].headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert "Access-Control-Allow-Origin" not in headers


def test_pages_name_no_other_host(client: Client) -> None:
    for path in ("/", "/row?id=v00000", "/player.css", "/player.js", "/view.css", "/view.js"):
        assert not re.search(r"https?://|(?<![:\w/])//[a-z]|@import|url\(", client.text(path)), path


def test_the_list(client: Client) -> None:
    page = client.text("/")
    assert page.count("<li ") == 50
    assert "1 to 50 of 303" in page
    assert re.search(r'<a href="/\?status=failed" class="failed">Failed <b>31</b>', page)
    assert "<dt>videos per second</dt><dd>3.427</dd>" in page
    assert "<dt>stage seconds, vision</dt><dd>120.5</dd>" in page
    assert "<h1>night [1]</h1>" in page
    assert "101 to 150 of 303" in client.text("/?page=2")
    assert 'href="/row?status=failed&amp;q=empty&amp;id=v00003"' in client.text("/?status=failed&q=empty")
    assert "No row holds all of these words." in client.text("/?q=nosuchword")


def test_a_row_knows_its_neighbours(client: Client) -> None:
    page = client.text("/row?id=v00013&status=failed")
    assert "2 of 31" in page
    assert 'id="previous" href="/row?status=failed&amp;id=v00003"' in page
    assert 'id="next" href="/row?status=failed&amp;id=v00023"' in page
    assert 'id="up" href="/?status=failed#at-1"' in page
    assert 'href="/?page=1#at-60"' in client.text("/row?id=v00060")


def test_a_failed_row_tells_its_three_parts(client: Client) -> None:
    page = client.text("/row?id=v00003")
    assert "<h3>VideoUnreadable</h3>" in page
    for word, part in (("Got", "an empty file"), ("Expected", "a video or image"), ("What to do", "download or copy")):
        assert f"<dt>{word}</dt><dd>{part}" in page
    assert "data-row" not in page


def test_texts_cannot_break_a_page(client: Client) -> None:
    name = quote(f"{NASTY}/../../etc/passwd", safe="")
    for page in (client.text("/?page=6"), client.text(f"/row?id={name}"), client.text("/row?id=v00302"), client.text("/?q=alert")):
        assert "<script>" not in page
        assert "<img" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert page.count("<body>") == 1
    assert '"><script>' not in client.ask("/?q=" + quote('"><script>alert(3)</script>'))[1].decode()
    assert "<script>" not in client.ask("/?status=" + quote("<script>"))[1].decode()


def test_masks_are_those_of_the_answer(client: Client) -> None:
    response, body = client.ask("/masks?id=v00000")
    entry = json.loads(body)
    assert response.headers["Content-Type"] == "application/json"
    size = (entry["h"], entry["w"])
    (track,) = entry["tracks"]
    masks = rle.decode([{"size": list(size), "counts": counts} for counts in track["masks"]], size)
    assert 0.2 < masks.mean() < 0.3  # 12 of 48 pixels, at another size
    assert np.array_equal(masks[0], masks[1])


def test_a_video_is_cut_once_and_black_is_given_for_one_that_is_gone(client: Client, viewer: Viewer, film: Annotation) -> None:
    response, body = client.ask(f"/video?id={quote(film.id)}")
    assert (response.status, response.headers["Content-Type"]) == (200, "video/mp4")
    assert body[4:8] == b"ftyp"
    assert client.ask(f"/video?id={quote(film.id)}")[1] == body
    response, body = client.ask("/video?id=v00000")
    assert response.status == 404
    assert json.loads(body)["got"] == "no file or folder of frames at gone/v0.mp4"
    response, body = client.ask("/black?id=v00000")
    assert (response.status, response.headers["Content-Type"]) == (200, "video/mp4")


def test_who_left_is_not_waited_for(viewer: Viewer, client: Client) -> None:
    """A request whose sender has gone while another video was cut makes no work."""
    shelf = viewer.site.clips
    with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=30) as connection, shelf._lock:
        request = f"GET /black?id=v00002 HTTP/1.0\r\nHost: localhost\r\nCookie: {client.cookie}\r\n\r\n"
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
    client.ask("/black?id=v00004")
    assert not any("v00002" in key for key in shelf._kept)
    assert any("v00004" in key for key in shelf._kept)


def test_a_port_that_is_taken(viewer: Viewer) -> None:
    with pytest.raises(EnvironmentProblem, match="a free port"):
        Viewer(viewer.site, viewer.server_port)


def test_videos_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        Site(str(write_run(tmp_path, [answered(0)])), tmp_path / "nosuch")
