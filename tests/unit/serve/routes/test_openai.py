"""The official ``openai`` client, unchanged, against a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import PIECES, RAW, TEXT, Canned, served, spooled
from vglamm.errors import DialogueError, Overloaded

TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def talk(canned: Canned, tmp_path: Path) -> Iterator[OpenAI]:
    settings = Settings(spool=canned.spool, token=TOKEN)
    with served(api(canned, settings)) as url, OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def shown(clip: Path) -> dict[str, object]:
    url = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    return {"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "who?"}]}


def test_models(talk: OpenAI) -> None:
    assert [model.id for model in talk.models.list()] == ["tiny", "other"]


def test_a_completion(talk: OpenAI, canned: Canned, shown: dict, settings: Settings) -> None:
    said = talk.chat.completions.create(model="tiny", messages=[shown], max_tokens=20, temperature=0.5, seed=3)
    [choice] = said.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (TEXT, "assistant", "stop")
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (40, 7, 47)
    extra = said.model_extra["vglamm"]
    assert extra["phrases"] == [{"text": "a cat", "start": 0, "end": 5, "track": 0}]
    assert len(extra["tracks"][0]["rle"]) == 12
    assert canned.asks[0].writing.options == {"max_new_tokens": 20, "temperature": 0.5, "seed": 3}
    assert (canned.asks[0].model, canned.asks[0].session) == ("tiny", None)
    assert spooled(Path(settings.spool)) == []


def test_a_talk_goes_on_with_the_message_that_was_given(talk: OpenAI, canned: Canned, shown: dict) -> None:
    first = talk.chat.completions.create(model="tiny", messages=[shown]).choices[0].message
    system = {"role": "system", "content": "Be brief."}
    for said in (first, {"role": "assistant", "content": first.content}):
        again = [system, shown, said, {"role": "user", "content": "and?"}]
        more = talk.chat.completions.create(model="", messages=again, extra_body={"fps": 2, "mode": "frames"})
        assert more.model_extra["vglamm"]["warnings"] == ["system messages were not used"]
    assert [ask.history for ask in canned.asks] == [(), (("who?", RAW),), (("who?", TEXT),)]
    assert (canned.asks[-1].question, canned.asks[-1].sampling.fps, canned.asks[-1].sampling.mode) == ("and?", 2.0, "frames")


def test_a_history_beyond_all_that_a_session_may_hold_reaches_nobody(
    talk: OpenAI, canned: Canned, shown: dict, settings: Settings
) -> None:
    most = settings.kept.turns * settings.taken.question - len("who?")

    def ask(said: dict) -> str:
        return talk.chat.completions.create(model="tiny", messages=[shown, said, {"role": "user", "content": "and?"}]).id

    assert ask({"role": "assistant", "content": "a" * most})
    canned.asks.clear()
    for said in ({"content": "a" * (most + 1)}, {"content": "brief", "raw": "a" * (most + 1)}):
        with pytest.raises(openai.UnprocessableEntityError, match="earlier messages of 128001 characters"):
            ask({"role": "assistant", **said})
    assert canned.asks == []
    assert spooled(Path(settings.spool)) == []


def test_what_is_not_done_is_said(talk: OpenAI, shown: dict) -> None:
    said = talk.chat.completions.create(
        model="tiny", messages=[shown], stop=["."], top_p=0.5, logprobs=False, user="me", response_format={"type": "json_object"}
    )
    assert said.model_extra["vglamm"]["warnings"] == [f"{name} was not used" for name in ("stop", "top_p", "response_format")]
    plain = talk.chat.completions.create(model="tiny", messages=[shown])
    assert plain.model_extra["vglamm"]["warnings"] == []


def test_a_stream(talk: OpenAI, shown: dict) -> None:
    chunks = list(talk.chat.completions.create(model="tiny", messages=[shown], stream=True, stream_options={"include_usage": True}))
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert words == ["a", " cat", " sleeps", "."]
    extras = [chunk.model_extra["vglamm"] for chunk in chunks if "vglamm" in chunk.model_extra]
    assert extras[0] == {"phrase": {"track": 0, "text": "a cat"}}
    assert [extra["masks"]["position"] for extra in extras if "masks" in extra] == list(range(12))
    assert extras[-1]["answer"]["text"] == TEXT
    assert chunks[-1].usage.completion_tokens == len(PIECES)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_an_image(talk: OpenAI, canned: Canned) -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (64, 48), (200, 10, 10)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]}
    assert talk.chat.completions.create(model="tiny", messages=[message]).choices[0].message.content == TEXT


def test_errors_are_those_of_the_client(talk: OpenAI, canned: Canned, shown: dict) -> None:
    def ask(**changed: object) -> object:
        return talk.chat.completions.create(**({"model": "tiny", "messages": [shown]} | changed))

    with pytest.raises(openai.NotFoundError):
        ask(model="nosuch")
    with pytest.raises(openai.AuthenticationError):
        talk.with_options(api_key="wrong").models.list()
    for messages in (
        [{"role": "user", "content": "no video"}],
        [shown, shown],
        [shown, {"role": "assistant", "content": "x"}],
        [{"role": "tool", "content": "x", "tool_call_id": "1"}],
        [{"role": "user", "content": [*shown["content"], *shown["content"]]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]}],
    ):
        with pytest.raises((openai.UnprocessableEntityError, openai.PermissionDeniedError)):
            ask(messages=messages)
    canned.refuse = Overloaded("a", "b", "c", 3)
    with pytest.raises(openai.InternalServerError) as refused:
        ask()
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "3")
    canned.refuse, canned.fail = None, DialogueError("a", "b", "c")
    with pytest.raises(openai.UnprocessableEntityError, match="got a; expected b; c"):
        ask()
    with pytest.raises(openai.APIError, match="got a; expected b; c"):
        list(ask(stream=True))
