"""What the spool keeps: videos in ranges, sessions that are rebuilt or gone, corrections, exports, expiry, room."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve.contract import Correct
from serve.ingress import api
from serve.settings import Kept, Settings
from serve.store.spool import Spool
from tests.unit.serve.canned import RAW, Canned, spooled
from vglamm.answer import Answer
from vglamm.errors import InUse
from vglamm.media.probe import probe

Connect = Callable[..., TestClient]


def ask(client: TestClient, video: str, **more: Any) -> dict[str, Any]:
    response = client.post("/v1/answers", json={"video": video, "question": "who?"} | more)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_video_is_what_it_is_found_to_be(client: TestClient, clip: Path) -> None:
    response = client.post("/v1/videos", content=clip.read_bytes(), headers={"Content-Type": "text/html"})
    told = response.json()
    assert response.status_code == 201
    assert (told["frames"], told["fps"], told["size"], told["seconds"], told["is_image"]) == (12, 6.0, [64, 96], 2.0, False)
    assert client.get(f"/v1/videos/{told['video']}").headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        (None, 200, slice(None)),
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=0-99999999", 206, slice(None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-2", 416, None),
        ("bytes=0-1,4-5", 206, slice(None)),
        ("frames=0-1", 206, slice(None)),
        ("bytes=-", 206, slice(None)),
    ],
)
def test_ranges(client: TestClient, video: str, clip: Path, asked: str | None, status: int, span: slice | None) -> None:
    data = clip.read_bytes()
    response = client.get(f"/v1/videos/{video}", headers={} if asked is None else {"Range": asked})
    assert response.status_code == status
    if span is None:
        assert response.headers["content-range"] == f"bytes */{len(data)}"
    else:
        assert response.content == data[span]
        assert int(response.headers["content-length"]) == len(response.content)


def test_what_is_no_video_is_not_kept(client: TestClient, tmp_path: Path) -> None:
    for body in (b"", b"nothing", b"\x00" * 5000, b"<html><script>alert(1)</script>", b"#EXTM3U\nhttp://127.0.0.1/x\n"):
        response = client.post("/v1/videos", content=body)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "video_unreadable")
        assert str(tmp_path) not in response.text
    assert spooled(tmp_path / "spool") == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "v-x", "%00", "v-" + "0" * 31, "V-" + "0" * 32])
@pytest.mark.parametrize("kind", ["videos", "sessions", "jobs"])
def test_names_that_are_none_of_ours_lead_nowhere(client: TestClient, kind: str, name: str) -> None:
    for method in ("GET", "DELETE"):
        assert client.request(method, f"/v1/{kind}/{name}").status_code in (404, 405, 422)


def test_another_replica_goes_on_with_a_session(connect: Connect, settings: Settings, client: TestClient, video: str) -> None:
    session = ask(client, video, fps=2)["session"]
    other = Canned(settings.spool)
    with TestClient(api(other, settings)) as second:
        assert ask(second, video, session=session)["turn"] == 1
    assert (other.asks[0].history, other.asks[0].sampling.fps) == ((("who?", RAW),), 2.0)
    assert other.asks[0].place == "after 1", "where the first one's backend left the visual tokens"
    assert len(client.get(f"/v1/sessions/{session}").json()["turns"]) == 2


def test_a_session_of_another_version_goes_on(settings: Settings, client: TestClient, video: str, canned: Canned) -> None:
    session, spool = ask(client, video)["session"], Spool(settings.spool, 1)
    record = spool.read("sessions", session)
    del record["place"]
    spool.write("sessions", session, record | {"mood": "of a later one"})
    assert ask(client, video, session=session)["turn"] == 1
    assert canned.asks[1].history == (("who?", RAW),)


def test_a_session_whose_video_or_record_is_gone_answers_410(client: TestClient, video: str, canned: Canned) -> None:
    session = ask(client, video)["session"]
    assert client.delete(f"/v1/videos/{video}").status_code == 204
    asked = {"session": session, "question": "and?"}
    for response in (client.post("/v1/answers", json=asked), client.get(f"/v1/sessions/{session}")):
        assert (response.status_code, response.json()["error"]["code"]) == (410, "session_gone")
    assert client.get(f"/v1/sessions/s-{'0' * 32}").status_code == 410


def test_a_session_ends_and_leaves_nothing(client: TestClient, video: str, canned: Canned, tmp_path: Path) -> None:
    session = ask(client, video)["session"]
    assert client.delete(f"/v1/sessions/{session}").status_code == 204
    assert (canned.forgotten, canned.places) == ([session], ["after 1"])
    assert spooled(tmp_path / "spool", "sessions") == []
    assert client.delete(f"/v1/sessions/{session}").status_code == 410


def test_sessions_are_bounded_in_number_and_in_turns(connect: Connect, canned: Canned, clip: Path) -> None:
    client = connect(kept=Kept(sessions=2, turns=2))
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    sessions = [ask(client, video)["session"] for _ in range(3)]
    assert [client.get(f"/v1/sessions/{name}").status_code for name in sessions] == [410, 200, 200]
    assert canned.forgotten == sessions[:1]
    ask(client, video, session=sessions[2])
    response = client.post("/v1/answers", json={"session": sessions[2], "question": "third?"})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "request_refused")


def test_two_questions_of_a_session_at_once_are_one_too_many(settings: Settings, canned: Canned, clip: Path) -> None:
    desk = api(canned, settings).state.desk

    async def both() -> None:
        async def bytes_of():
            yield clip.read_bytes()

        video = await desk.videos.admit(bytes_of())
        from serve.contract import Ask

        session = await desk.sessions.begin(video, Ask(f"videos/{video}", "who?"))
        async with aclosing(desk.sessions.ask(session, Ask(f"videos/{video}", "who?"), video)) as first:
            await anext(first)
            with pytest.raises(Exception, match="at work"):
                await anext(desk.sessions.ask(session, Ask(f"videos/{video}", "and?"), video))
        async with aclosing(desk.sessions.ask(session, Ask(f"videos/{video}", "and?"), video)) as second:
            assert [event async for event in second][-1].turn == 0

    asyncio.run(both())


def test_a_correction_takes_the_place_of_its_turn(client: TestClient, video: str, canned: Canned) -> None:
    session = ask(client, video, fps=2, mode="frames")["session"]
    ask(client, video, session=session, question="and?")
    body = {"turn": 0, "track": 0, "position": 3, "points": [[5, 6, 1], [7.5, 8, 0]], "box": [1, 2, 30, 40]}
    response = client.post(f"/v1/sessions/{session}/corrections", json=body)
    assert (response.status_code, response.json()["turn"]) == (200, 0)
    [made] = canned.corrections
    assert (made.track, made.position, made.points, made.box) == (0, 3, ((5.0, 6.0, True), (7.5, 8.0, False)), (1, 2, 30, 40))
    assert (made.ask.question, made.ask.history, made.ask.sampling.fps, made.ask.sampling.mode) == ("who?", (), 2.0, "frames")
    told = client.get(f"/v1/sessions/{session}").json()
    assert [turn["corrected"] for turn in told["turns"]] == [1, 0]
    kept = client.get(f"/v1/sessions/{session}/turns/0/answer.json")
    assert Answer.from_json(kept.content).warnings == ("corrected",)
    stream = client.post(f"/v1/sessions/{session}/corrections", json=body | {"stream": True})
    assert stream.text.count("event: masks") == 12


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"turn": 9}, 404),
        ({"track": 9}, 404),
        ({"position": 99}, 404),
        ({"points": []}, 422),
        ({"points": [[97, 5, 1]]}, 422),
        ({"points": [[5, 65, 1]]}, 422),
        ({"points": [[5, 5, 2]]}, 422),
        ({"points": [[-1, 5, 1]]}, 422),
        ({"points": [[5, 5]]}, 422),
        ({"points": [], "box": [5, 5, 5, 9]}, 422),
        ({"box": [5, 5, 200, 9]}, 422),
        ({"more": 1}, 422),
    ],
)
def test_a_wrong_correction_is_refused(client: TestClient, video: str, canned: Canned, wrong: dict, status: int) -> None:
    session = ask(client, video)["session"]
    body = {"turn": 0, "track": 0, "position": 3, "points": [[5, 6, 1]]} | wrong
    assert client.post(f"/v1/sessions/{session}/corrections", json=body).status_code == status
    assert canned.corrections == []


def test_exports_are_those_of_the_package(client: TestClient, video: str, tmp_path: Path) -> None:
    answered = ask(client, video)
    there = f"/v1/sessions/{answered['session']}/turns/0"
    own = client.get(f"{there}/answer.json")
    assert own.json() == answered["answer"]
    assert own.headers["content-disposition"] == 'attachment; filename="answer.json"'
    coco = client.get(f"{there}/coco.json").json()
    assert (len(coco["images"]), len(coco["annotations"]), coco["annotations"][0]["phrase"]) == (12, 12, "a cat")
    overlay = tmp_path / "overlay.mp4"
    overlay.write_bytes(client.get(f"{there}/overlay.mp4").content)
    assert probe(overlay).codec == "h264"
    by_form = client.post("/v1/exports", json={"session": answered["session"], "turn": 0, "format": "coco"})
    assert by_form.json() == coco
    assert client.get(f"{there}/overlay.png").status_code == 404
    assert client.get(f"/v1/sessions/{answered['session']}/turns/1/answer.json").status_code == 404
    assert client.get(f"{there}/passwd").status_code == 422


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def test_what_nobody_uses_expires(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, replace(settings, kept=Kept(seconds=100.0)))
    desk, folder = app.state.desk, Path(settings.spool)
    client = TestClient(app)  # without its lifespan, which sweeps by itself
    old, young = (client.post("/v1/videos", content=clip.read_bytes()).json()["video"] for _ in range(2))
    session = ask(client, old)["session"]
    age(folder, 99)
    client.get(f"/v1/videos/{young}")
    age(folder / "videos" / f"{old}.json", 0)
    for name in (old, f"{old}.json"):
        os.utime(folder / "videos" / name, (0, 0))
    age(folder / "sessions", 101)
    asyncio.run(desk.sessions.expire())
    asyncio.run(desk.videos.expire())
    assert spooled(folder) == [young, f"{young}.json"]
    assert spooled(folder, "sessions") == []
    assert canned.forgotten == [session]


@pytest.mark.parametrize("work", ["ask", "ask in a session", "correct"])
def test_a_long_answer_keeps_its_video(
    settings: Settings, canned: Canned, clip: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    app = api(canned, replace(settings, kept=Kept(seconds=100.0)))
    client, desk, folder = TestClient(app), app.state.desk, Path(settings.spool, "videos")
    told = ask(client, client.post("/v1/videos", content=clip.read_bytes()).json()["video"])
    monkeypatch.setattr("serve.store.videos._TOUCH", 0.0)  # else once a minute

    async def worked() -> None:
        session = await desk.sessions.load(told["session"])
        events = desk.sessions.ask(None if work == "ask" else session, session.ask(0), session.video)
        if work == "correct":
            correction = Correct(session.ask(0), await desk.sessions.answer(session, 0), 0, 3, ((5.0, 6.0, True),), None)
            events = desk.sessions.correct(session, 0, correction)
        async with aclosing(events):
            await anext(events)
            age(folder, 101)
            await anext(events)
            await desk.videos.expire()

    asyncio.run(worked())
    assert spooled(folder.parent) == [told["video"], f"{told['video']}.json"]


@pytest.mark.parametrize("use", ["look", "export", "correct", "nothing"])
def test_looking_exporting_and_correcting_are_use(settings: Settings, canned: Canned, clip: Path, use: str) -> None:
    app = api(canned, replace(settings, kept=Kept(seconds=100.0)))
    client, desk, folder = TestClient(app), app.state.desk, Path(settings.spool, "sessions")
    session = ask(client, client.post("/v1/videos", content=clip.read_bytes()).json()["video"])["session"]
    there = f"/v1/sessions/{session}"
    assert client.get(there).status_code == 200  # once a minute is noted
    age(folder, 101)
    desk.spool._touched.clear()  # as two minutes later
    if use == "correct":
        mark = {"turn": 0, "track": 0, "position": 3, "points": [[5, 6, 1]]}
        assert client.post(f"{there}/corrections", json=mark).status_code == 200
    elif use != "nothing":
        assert client.get(there if use == "look" else f"{there}/turns/0/answer.json").status_code == 200
    asyncio.run(desk.sessions.expire())
    assert [name for _, name in desk.spool.names("sessions")] == ([] if use == "nothing" else [session])


@pytest.mark.parametrize("lost", ["taken", "taken and given back", "noticed while it works"])
@pytest.mark.parametrize("work", ["ask", "correct"])
def test_who_lost_the_lease_writes_no_more(settings: Settings, canned: Canned, clip: Path, lost: str, work: str) -> None:
    seconds = 0.3 if lost == "noticed while it works" else 60.0
    desk = api(canned, replace(settings, kept=Kept(lease_seconds=seconds))).state.desk
    client = TestClient(api(canned, settings))
    told = ask(client, client.post("/v1/videos", content=clip.read_bytes()).json()["video"])
    name, folder = told["session"], Path(settings.spool, "sessions")
    before = {path: path.read_bytes() for path in folder.rglob("*.json") if path.stem != "used"}

    async def worked() -> None:
        session = await desk.sessions.load(name)
        correction = Correct(session.ask(0), await desk.sessions.answer(session, 0), 0, 3, ((5.0, 6.0, True),), None)
        events = desk.sessions.ask(session, session.ask(0), session.video)
        if work == "correct":
            events = desk.sessions.correct(session, 0, correction)
        async with aclosing(events):
            await anext(events)
            if lost == "taken and given back":
                desk.spool.delete_part("sessions", name, "lease")
            else:
                desk.spool.write("sessions", name, {"holder": "another", "until": 2e10}, "lease")
            canned.held = lost == "noticed while it works"
            with pytest.raises(InUse, match="took over"):
                async for _ in events:
                    pass

    asyncio.run(worked())
    assert canned.open == 0
    kept = {path: path.read_bytes() for path in folder.rglob("*.json") if path.stem not in ("used", "lease")}
    assert kept == before


def test_what_a_dead_replica_left_half_done_goes(settings: Settings, canned: Canned, clip: Path) -> None:
    app, folder = api(canned, settings), Path(settings.spool, "videos")
    kept = TestClient(app).post("/v1/videos", content=clip.read_bytes()).json()["video"]
    for name in (".partial-x", "v-" + "0" * 32):
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    (folder / ".partial-y").touch()  # somebody may be at it
    os.utime(folder / kept, (0, 0))
    spool = app.state.desk.spool
    old, young, whole = (f"s-{digit * 32}" for digit in "012")
    for session in (old, young, whole):
        spool.write("sessions", session, {}, "lease")  # a replica that died over the first question left this and no record
    spool.write("sessions", whole, {})
    for session in (old, whole):
        os.utime(Path(settings.spool, "sessions", session), (0, 0))
    asyncio.run(app.state.desk.videos.expire())
    assert spooled(Path(settings.spool)) == [".partial-y", kept, f"{kept}.json"]
    assert spooled(Path(settings.spool), "sessions") == [young, whole, f"{whole}.json"]


def test_a_full_spool_takes_no_more(connect: Connect, clip: Path) -> None:
    client = connect(kept=Kept(bytes=1))
    assert client.post("/v1/videos", content=clip.read_bytes()).status_code == 201
    response = client.post("/v1/videos", content=clip.read_bytes())
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")


def test_a_spool_may_be_an_address(clip: Path) -> None:
    settings = Settings(spool="memory://spool", names=("testserver",))
    with TestClient(api(Canned(settings.spool), settings)) as client:
        video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
        session = ask(client, video)["session"]
        assert ask(client, video, session=session)["turn"] == 1
        assert [name for _, name in client.app.state.desk.spool.names("sessions")] == [session]
        assert client.get(f"/v1/videos/{video}", headers={"Range": "bytes=5-9"}).content == clip.read_bytes()[5:10]
        assert client.delete(f"/v1/sessions/{session}").status_code == 204
        assert client.delete(f"/v1/videos/{video}").status_code == 204
        assert client.get(f"/v1/videos/{video}").status_code == 404


def test_a_record_is_json_and_whole(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 10)
    name = "s-" + "0" * 32
    spool.write("sessions", name, {"a": 1})
    assert json.loads((tmp_path / "sessions" / f"{name}.json").read_text()) == {"a": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        spool.write("sessions", name, {"a": float("nan")})
    assert spool.read("sessions", name) == {"a": 1}
