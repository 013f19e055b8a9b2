import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.metrics.clair import Clair, parse_score


class Server(HTTPServer):
    """A chat server that gives ``replies`` in turn, the last of them again and again: a text, or a status."""

    replies: list[str | int]
    requests: list[tuple[str, str | None, dict]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        reply = self.server.replies.pop(0) if len(self.server.replies) > 1 else self.server.replies[0]
        status = reply if isinstance(reply, int) else 200
        content = json.dumps({"choices": [{"message": {"content": reply}}]}).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.requests = []
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def judge_at(server: Server, **more) -> Clair:
    return Clair(f"http://127.0.0.1:{server.server_port}/v1/", "judge", pause=0.0, timeout=5.0, **more)


def test_scores_are_asked_one_by_one(server):
    server.replies = ['{"score": 80, "reason": "alike"}', 'Here: {"score": 12.5, "reason": "no"} Good?']
    found = judge_at(server, key="secret").judge(["a dog", "a cat"], ["a hound", 'a "car"'])
    assert (found.scores, found.errors) == ((80, 12.5), 0)
    path, key, body = server.requests[1]
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer secret", "judge", 0)
    text = body["messages"][0]["content"]
    assert '"a \\"car\\""' in text
    assert text.index("a cat") > text.index("car")


def test_without_a_key_none_is_sent(server):
    server.replies = ['{"score": 0}']
    assert judge_at(server).judge(["a"], ["b"]).scores == (0,)
    assert server.requests[0][1] is None


def test_what_is_no_score_is_asked_again_up_to_a_bound(server):
    server.replies = ["about 80", 503, '{"score": "70"}', '{"score": 70}']
    judgement = judge_at(server, tries=3).judge(["a", "b"], ["a", "b"])
    assert judgement.scores == (None, 70)
    assert judgement.errors == 1
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [401, 404, 307])
def test_a_refusal_ends_it_and_hides_the_key(server, status):
    server.replies = [status]
    with pytest.raises(EnvironmentProblem, match=f"HTTP {status}") as caught:
        judge_at(server, key="secret").judge(["a"], ["b"])
    assert len(server.requests) == 1
    assert "secret" not in str(caught.value) + repr(judge_at(server, key="secret"))


def test_a_judge_that_never_answers_in_json_is_given_up(server):
    server.replies = ["eighty"]
    with pytest.raises(EnvironmentProblem, match="no score for 5 pairs"):
        judge_at(server, tries=1).judge(["a"] * 9, ["b"] * 9)
    assert len(server.requests) == 5


def test_nobody_there():
    with HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    assert Clair(f"http://127.0.0.1:{port}", "judge", pause=0.0, tries=2).judge(["a"], ["b"]).scores == (None,)


@pytest.mark.parametrize(
    "said", ["", "80", '{"score": true}', '{"score": 101}', '{"score": NaN}', '{"reason": "x"}', "{", '["score"]']
)
def test_only_a_number_in_a_json_object_is_a_score(said):
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        parse_score(said)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "judge:80", "http://", "http://me:pw@host/v1"])
def test_other_addresses_are_refused(url):
    with pytest.raises(ConfigError):
        Clair(url, "judge")
