"""Ask, watch the answer come, point, pin, ask again, correct, download."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from pycocotools import mask as coco

from tests.integration.page.acts import answered, ask, drawn, ends, filled, ids, pick, seek, shows
from tests.integration.page.conftest import Site
from vglamm.answer import Answer
from vglamm.language.phrases import parse_reply
from vglamm.media.read import open_video

pytestmark = pytest.mark.browser
DESCRIBE = "Describe the video."
SAID = "There is a hamburger, a hamburger and a zebra."


def test_an_answer_comes_word_by_word_and_its_masks_frame_by_frame(page: Page, site: Site) -> None:
    scene = pick(page)
    site.oracle.hold()
    turn = ask(page, DESCRIBE)
    ends(turn, "waiting")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#now")).to_have_text("Looking at the video")
    site.oracle.release()
    ends(turn, "done")
    expect(turn.locator(".text")).to_have_text(SAID)
    expect(turn.locator(".text")).to_have_attribute("aria-busy", "false")
    expect(turn.locator(".chip")).to_have_text(["a hamburger", "a hamburger", "a zebra"])
    expect(page.locator(".film .name")).to_have_text(["a hamburger", "a hamburger", "a zebra"])
    expect(turn.locator(".facts")).to_contain_text("24 frames")
    for position in (0, 9, 23):
        seek(page, position)
        assert np.array_equal(drawn(page) > 0, scene.id_map[position] > 0)


def test_each_word_shows_before_the_next_is_written(page: Page, site: Site) -> None:
    pick(page)
    page.route("**/v1/answers", lambda route: route.fulfill(content_type="text/event-stream", body=HALF))
    turn = ask(page, DESCRIBE)
    expect(turn.locator(".coming, .chip")).to_have_text(["a hamburger", "a zebra"])
    expect(turn.locator(".chip")).to_have_text(["a hamburger"])
    expect(turn.locator(".text")).to_have_text("There is a hamburger and a zebra")
    ends(turn, "failed")  # the stream ends without an answer
    expect(turn.locator(".trouble")).to_contain_text("cannot be reached")


HALF = "".join(
    f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n"
    for name, data in (
        ("text", {"piece": "There is <p> a hamb"}), ("text", {"piece": "urger </p> [SE"}), ("text", {"piece": "G]"}),
        ("phrase", {"track": 0, "text": "a hamburger"}), ("text", {"piece": " and <p> a zebra"}), ("text", {"piece": " </"}),
    )
)  # fmt: skip


def test_pointing_at_a_phrase_lights_its_mask_and_pressing_keeps_it(page: Page) -> None:
    scene = pick(page)
    turn = answered(page, DESCRIBE)
    seek(page, 12)
    zebra = scene.id_map[12] == ids(scene, "zebra")[0]
    chip = turn.locator(".chip").nth(2)
    chip.hover()
    assert np.array_equal(filled(page), zebra)
    page.mouse.move(5, 5)
    assert np.array_equal(filled(page), scene.id_map[12] > 0)
    chip.focus()  # by script, as a pointer would: no light
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert np.array_equal(filled(page), zebra)
    page.keyboard.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".film .name").nth(2)).to_have_attribute("aria-pressed", "true")
    page.locator("#question").focus()
    assert np.array_equal(filled(page), zebra)
    chip.click()
    page.mouse.move(5, 5)
    assert np.array_equal(filled(page), scene.id_map[12] > 0)


def test_the_time_line_shows_when_each_object_is_visible(page: Page) -> None:
    scene = pick(page, "mixed")
    turn = answered(page, "Show the orange star.")
    (star,) = (item for item in scene.objects if item.colour == "orange")
    seen = [k for k in range(24) if (scene.id_map[k] == star.id).any()]
    assert 0 < len(seen) < 24
    bars = page.evaluate("[...document.querySelectorAll('.film .lane b')].map((b) => [b.style.left, b.style.width])")
    assert sum(float(width[:-1]) for _, width in bars) == pytest.approx(100 * len(seen) / 24, abs=0.1)
    name = page.locator(".film .name").get_attribute("aria-label") or ""
    assert name.startswith("the orange star, seen ")
    expect(turn.locator(".chip")).to_have_text("the orange star")


def test_several_questions_are_one_conversation(page: Page, site: Site) -> None:
    scene = pick(page)
    first = answered(page, DESCRIBE)
    second = answered(page, "Show the zebra.")
    assert [len(asked.history) for asked in site.oracle.asked] == [0, 1]
    assert site.oracle.asked[0].session == site.oracle.asked[1].session
    expect(page.locator(".film .name")).to_have_text(["the zebra"])
    seek(page, 3)
    assert np.array_equal(filled(page), scene.id_map[3] == ids(scene, "zebra")[0])
    first.locator(".chip").first.hover()
    expect(page.locator(".film .name")).to_have_count(3)
    expect(first).to_have_attribute("data-current", "")
    expect(second).not_to_have_attribute("data-current", "")


def test_a_click_on_another_object_corrects_the_mask(page: Page) -> None:
    scene = pick(page)
    turn = answered(page, "Show the zebra.")
    seek(page, 5)
    burger = ids(scene, "hamburger")[0]
    turn.locator(".fix").click()
    x, y = _inside(scene.id_map[5] == burger)
    page.locator(".tool").click(position=_on_screen(page, x, y))
    expect(page.locator(".point")).to_have_count(1)
    page.get_by_role("button", name="Apply").click()
    _corrected(page, turn)
    for position in (5, 20, 0):
        seek(page, position)
        assert np.array_equal(drawn(page) > 0, scene.id_map[position] == burger)


def test_a_click_on_an_object_begins_its_correction(page: Page, site: Site) -> None:
    scene = pick(page)
    turn = answered(page, DESCRIBE)
    seek(page, 5)
    screen, video, tool = page.locator(".screen"), page.locator(".film video"), page.locator(".tool")
    zebra, burger = (scene.id_map == ids(scene, noun)[0] for noun in ("zebra", "hamburger"))
    x, y = _inside(zebra[5])
    screen.click(position=_on_screen(page, x, y))
    expect(page.locator(".fixing select")).to_have_value("2")
    expect(turn.locator(".chip").nth(2)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".point")).to_have_count(0)  # the first click says which, not where
    tool.click(position=_on_screen(page, x, y))
    expect(page.locator(".point")).to_have_count(1)
    page.keyboard.press("Escape")
    shows(page, 5)
    nothing = ~(scene.id_map > 0).any(0)
    screen.click(position=_on_screen(page, *_inside(nothing)))
    expect(page.locator(".play")).to_have_attribute("aria-label", "Pause")
    expect(tool).to_have_count(0)
    screen.click(position=_on_screen(page, *_inside(burger.all(0))))
    expect(page.locator(".fixing select")).to_have_value("1")
    assert video.evaluate("video => video.paused")
    expect(turn.locator(".chip[aria-pressed=true]")).to_have_count(1)


def test_looking_at_answers_keeps_their_session(page: Page, site: Site) -> None:
    page.clock.install()
    pick(page)
    answered(page, DESCRIBE)
    with page.expect_request(f"**/v1/sessions/{site.oracle.asked[0].session}") as looked:
        page.clock.run_for(600_000)
    assert looked.value.method == "GET"


def test_a_box_by_dragging_and_a_point_by_keys(page: Page) -> None:
    scene = pick(page)
    turn = answered(page, DESCRIBE)
    seek(page, 5)
    turn.locator(".chip").nth(1).click()
    turn.locator(".fix").click()
    expect(page.locator(".fixing select")).to_have_value("1")
    zebra = scene.id_map[5] == ids(scene, "zebra")[0]
    rows, columns = np.nonzero(zebra)
    place = page.locator(".tool").bounding_box()
    assert place is not None
    corners = [(columns.min(), rows.min()), (columns.max(), rows.max())]
    (x0, y0), (x1, y1) = ((place["x"] + x * place["width"] / 256, place["y"] + y * place["height"] / 256) for x, y in corners)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, y1, steps=4)
    page.mouse.move(x1, y1, steps=4)
    page.mouse.up()
    expect(page.locator(".tool .box")).to_be_visible()
    page.keyboard.press("Enter")
    _corrected(page, turn)
    page.mouse.move(5, 5)
    seek(page, 5)
    assert np.array_equal(filled(page), zebra)  # the corrected mask stays lit
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    expect(page.locator(".point")).to_have_count(1)
    page.keyboard.press("Backspace")
    expect(page.locator(".point")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator(".tool")).to_have_count(0)


def test_downloads_are_the_answer(page: Page, tmp_path: Path) -> None:
    pick(page)
    turn = answered(page, DESCRIBE)
    files = {}
    for name in ("overlay.mp4", "answer.json", "coco.json"):
        with page.expect_download() as waiting:
            turn.locator(f"[data-file='{name}']").click()
        files[name] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[name])
    assert [path.name for path in files.values()] == ["things-0-overlay.mp4", "things-0-answer.json", "things-0-coco.json"]
    answer = Answer.from_json(files["answer.json"].read_bytes())
    assert (answer.text, answer.source) == (SAID, "upload")
    assert len(json.loads(files["coco.json"].read_text())["annotations"]) == 3 * 24
    assert len(open_video(files["overlay.mp4"])) == 24


def test_runs_are_read_as_pycocotools_writes_them(page: Page) -> None:
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (7, 5), (64, 48), (40, 333)]
    masks = [rng.random(size) < share for size in sizes for share in (0.02, 0.5, 0.97)] + [np.ones((9, 4), np.bool_)]
    for mask in masks:
        counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        height, width = mask.shape
        plane = page.evaluate("([counts, w, h]) => [...decode(counts, w, h).plane]", [counts, width, height])
        assert np.array_equal(np.array(plane, np.bool_).reshape(mask.shape), mask)


RAWS = [
    "<p> a cat </p> [SEG] sees <p> a dog </p> [SEG] frames:(1,3).",
    "It is <p>the  big\n dog</p>[SEG] , not ( <p> a cat</p> [SEG] ) .",
    "[SEG] <p> one <p> two </p> [SEG] [SEG] three </p> <p> </p> [SEG] it 's",
    "Line one\n\n\nline two <p> 犬が </p> [SEG]。 𝔘nicode <p> open",
    "",
]


def test_raw_text_is_read_as_the_library_reads_it(page: Page) -> None:
    read = page.evaluate("async (raws) => { const { writing } = await import('/web/reply.js'); return raws.map(writing); }", RAWS)
    for raw, runs in zip(RAWS, read, strict=True):
        reply = parse_reply(raw)
        assert "".join(run["text"] for run in runs) == reply.text
        grounded = {run["track"]: run["text"] for run in runs if run["track"] is not None}
        assert grounded == {phrase.track: phrase.text for phrase in reply.phrases if phrase.text}


def _inside(mask: np.ndarray) -> tuple[int, int]:
    """A pixel (x, y) well inside a mask."""
    rows, columns = np.nonzero(mask)
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(columns[middle]), int(rows[middle])


def _on_screen(page: Page, x: float, y: float) -> dict[str, float]:
    place = page.locator(".screen").bounding_box()
    assert place is not None
    return {"x": (x + 0.5) * place["width"] / 256, "y": (y + 0.5) * place["height"] / 256}


def _corrected(page: Page, turn: object) -> None:
    expect(page.locator(".tool")).to_have_count(0)
    expect(page.locator("#stop")).to_be_hidden()
    ends(turn, "done")  # type: ignore[arg-type]
