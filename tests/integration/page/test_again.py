"""Coming back to an answer: corrections and downloads that are refused, left, or of a conversation that is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from serve.ingress import api
from serve.settings import Settings
from tests.integration.page.acts import answered, ask, ends, filled, forget, pick
from tests.integration.page.conftest import Site, opened
from tests.integration.page.oracle import running
from tests.unit.serve.canned import Canned
from vglamm.answer import Answer

pytestmark = pytest.mark.browser
DESCRIBE = "Describe the video."
ZEBRA = "Show the zebra."


BUSY = {"error": {"code": "overloaded", "message": "9 waiting requests", "request_id": "r"}}


def refusing(page: Page, pattern: str, times: int) -> list[str | None]:
    """The bodies of requests, of which so many are refused first."""
    asked: list[str | None] = []

    def handle(route: Route) -> None:
        asked.append(route.request.post_data)
        if len(asked) <= times:
            route.fulfill(status=503, json=BUSY)
        else:
            route.continue_()

    page.route(pattern, handle)
    return asked


def corrected(page: Page, turn: Locator) -> None:
    """Mark the middle of the mask, by keys."""
    turn.locator(".fix").click()
    page.keyboard.press("+")
    page.keyboard.press("Enter")


def test_a_correction_that_was_refused_is_tried_again(page: Page) -> None:
    asked = refusing(page, "**/corrections", 2)
    pick(page)
    turn = answered(page, DESCRIBE)
    corrected(page, turn)
    again = turn.locator(".trouble button")
    again.click()
    expect(page.locator("#send")).to_be_visible()
    expect(turn.locator(".trouble")).to_have_count(1)
    later = answered(page, ZEBRA)
    later.locator(".fix").click()  # what is begun there gives way
    again.click()
    expect(turn.locator(".trouble")).to_have_count(0)
    expect(page.locator("#send")).to_be_visible()
    ends(turn, "done")
    expect(turn).to_have_attribute("data-current", "")
    expect(page.locator(".tool")).to_have_count(0)
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


def test_a_correction_gives_way_to_a_press_and_not_to_a_glance(page: Page) -> None:
    pick(page)
    first, second = answered(page, DESCRIBE), answered(page, ZEBRA)
    second.locator(".fix").click()
    for _ in range(2):
        page.keyboard.press("+")
    points, chips, lit = page.locator(".tool .point"), first.locator(".chip"), filled(page)
    for chip in chips.all():
        chip.hover()
        expect(points).to_have_count(2)
        chip.focus()
        page.keyboard.press("Shift+Tab")  # now by the keyboard, which lights a phrase
        page.keyboard.press("Tab")
        expect(chip).to_be_focused()
        expect(points).to_have_count(2)
        assert np.array_equal(filled(page), lit)
    first.locator("[data-file='answer.json']").hover()
    expect(second).to_have_attribute("data-current", "")
    expect(points).to_have_count(2)
    chips.last.click()
    expect(page.locator(".tool")).to_have_count(0)
    expect(first).to_have_attribute("data-current", "")
    expect(chips.last).to_have_attribute("aria-pressed", "true")


def test_a_phrase_of_another_answer_is_not_lit_while_one_is_written(page: Page, site: Site) -> None:
    """Its number is that of another object there, or of none."""
    pick(page)
    first = answered(page, DESCRIBE)
    site.oracle.hold()
    second = ask(page, ZEBRA)
    expect(second).to_have_attribute("data-current", "")
    for chip in first.locator(".chip").all():
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "false")
    site.oracle.release()
    ends(second, "done")
    expect(page.locator(".film .name[aria-pressed=true]")).to_have_count(0)


def test_of_downloads_that_failed_the_last_one_is_told_until_one_succeeds(page: Page) -> None:
    refusing(page, "**/turns/**", 2)
    pick(page)
    turn = answered(page, DESCRIBE)
    for name in ("coco.json", "answer.json"):
        with page.expect_response("**/turns/**"):
            turn.locator(f"[data-file='{name}']").click()
        expect(turn.locator(".trouble")).to_have_count(1)
    with page.expect_download() as waiting:
        turn.locator(".trouble button").click()
    assert waiting.value.suggested_filename == "things-0-answer.json"
    expect(page.locator("#now")).to_have_text("Saved")
    expect(turn.locator(".trouble")).to_have_count(0)


def test_answers_of_a_session_that_is_gone_are_not_mistaken_for_later_ones(page: Page, site: Site) -> None:
    """Both are turn 0 of theirs."""
    pick(page)
    first = answered(page, DESCRIBE)
    session = site.oracle.asked[-1].session
    forget(page, session)
    second = answered(page, ZEBRA)
    said = first.locator(".text").inner_text(), second.locator(".text").inner_text()
    with page.expect_response("**/turns/**") as saved:
        first.locator("[data-file='answer.json']").click()
    assert (saved.value.status, f"/{session}/turns/0/" in saved.value.url) == (410, True)
    expect(first.locator(".trouble")).to_contain_text("The conversation has expired")
    with page.expect_response("**/corrections") as refused:
        corrected(page, first)
    assert refused.value.status == 410
    ends(first, "done")
    expect(first.locator(".trouble")).to_contain_text("The conversation has expired")
    expect(first.locator(".trouble button")).to_have_count(0)  # it will not come back
    assert (first.locator(".text").inner_text(), second.locator(".text").inner_text()) == said
    with page.expect_download() as kept:
        second.locator("[data-file='answer.json']").click()
    assert Answer.from_json(Path(kept.value.path()).read_bytes()).question == ZEBRA


@pytest.fixture
def plain(tmp_path: Path, chromium: Browser) -> Iterator[Page]:
    """The page over a backend that finds a cat in whatever it is shown."""
    with running(api(Canned(str(tmp_path)), Settings(str(tmp_path)))) as url:
        yield from opened(chromium.new_context(reduced_motion="reduce"), url)


def test_a_mask_of_a_picture_is_corrected(plain: Page, tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), (120, 30, 200)).save(tmp_path / "picture.png")
    plain.set_input_files("#file", tmp_path / "picture.png")
    expect(plain.locator(".film img")).to_be_visible()
    turn = answered(plain, "Who is it?")
    corrected(plain, turn)
    expect(turn.locator(".note")).to_have_text("corrected")
    expect(plain.locator("#send")).to_be_visible()
    expect(plain.locator("#stop")).to_be_hidden()


def test_a_bug_of_the_player_is_no_end_of_the_page(site: Site, chromium: Browser) -> None:
    """Its questions and corrections are over then, not at work for ever."""
    page = chromium.new_context(reduced_motion="reduce").new_page()
    page.goto(site.url)
    pick(page)
    turn = answered(page, DESCRIBE)
    page.evaluate("() => { Entry.prototype.seek = () => { throw new Error('a bug'); }; }")

    def broken() -> None:
        expect(page.locator("#stop")).to_be_visible()
        with page.expect_event("pageerror") as error:
            site.oracle.release()
        assert error.value.message == "a bug"
        expect(page.locator("#send")).to_be_visible()

    site.oracle.hold()
    corrected(page, turn)
    broken()
    site.oracle.hold()
    ask(page, ZEBRA)
    broken()
    page.context.close()
