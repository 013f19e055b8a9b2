"""Waiting, refusals, errors, stopping; phones, keys, colours; and that nothing is asked of anybody else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serve.http import gallery
from tests.integration.page.acts import answered, ask, ends, forget, pick, shows, until
from tests.integration.page.conftest import LARGEST, Site, opened
from vglamm.errors import Overloaded, VideoUnreadable

pytestmark = pytest.mark.browser
DESCRIBE = "Describe the video."
ZEBRA = "Show the zebra."
BROKEN = VideoUnreadable("a file that ends early", "a whole video", "copy it again")


def test_a_file_that_is_no_video_is_refused_in_words(page: Page, cut: Path) -> None:
    page.set_input_files("#file", cut)
    expect(page.locator("#refused .trouble")).to_contain_text("This video cannot be used")
    expect(page.locator("#refused .trouble")).to_contain_text("Request ")
    expect(page.locator("#refused button")).to_have_count(0)  # the same file again would be refused again
    expect(page.locator("#pick")).to_be_visible()


def test_a_file_that_is_too_large_is_refused(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes((gallery.content("things") or b"") + bytes(LARGEST))
    page.set_input_files("#file", large)
    expect(page.locator("#refused .trouble")).to_contain_text("too large")


def test_a_busy_server_says_when_to_come_back(page: Page, site: Site) -> None:
    for question, seconds in ((DESCRIBE, 600.0), (ZEBRA, 1.0)):
        site.oracle.failing[question] = Overloaded("9 waiting requests", "at most 8", "try again", retry_after=seconds)
    pick(page)
    for question in (DESCRIBE, ZEBRA):
        turn = ask(page, question)
        ends(turn, "failed")
        expect(turn.locator(".trouble")).to_contain_text("The server is busy")
    later, soon = page.locator(".turn").first, page.locator(".turn").last
    expect(later.locator(".trouble button")).to_have_text(re.compile(r"Try again in \d+ s"))
    expect(later.locator(".trouble button")).to_be_disabled()
    site.oracle.failing.clear()
    expect(soon.locator(".trouble button")).to_have_text("Try again")
    soon.locator(".trouble button").click()
    ends(page.locator(".turn").nth(1), "done")
    expect(page.locator(".turn")).to_have_count(2)


def test_an_error_in_the_middle_keeps_what_was_written(page: Page, site: Site) -> None:
    site.oracle.failing[f"!{DESCRIBE}"] = BROKEN
    pick(page)
    turn = ask(page, DESCRIBE)
    ends(turn, "failed")
    expect(turn.locator(".text")).to_contain_text("There is a hamburger")
    expect(turn.locator(".trouble")).to_contain_text("a file that ends early")


def test_no_connection(page: Page) -> None:
    pick(page)
    page.route("**/v1/answers", lambda route: route.abort())
    turn = ask(page, DESCRIBE)
    ends(turn, "failed")
    expect(turn.locator(".trouble")).to_contain_text("The server cannot be reached")
    page.unroute("**/v1/answers")
    turn.locator(".trouble button").click()
    ends(page.locator(".turn"), "done")


def test_a_video_that_the_server_forgot_is_sent_again(page: Page, site: Site) -> None:
    pick(page)
    answered(page, DESCRIBE)
    session = site.oracle.asked[-1].session
    forget(page, session)
    answered(page, ZEBRA)
    assert site.oracle.asked[-1].session != session


def test_the_token_is_asked_for_and_sent(page: Page) -> None:
    cards = page.locator(".card:not([disabled])")
    expect(cards).to_have_count(4)  # what the page asks for before anything is guarded has been answered
    seen: list[str | None] = []

    def guard(route: Route) -> None:
        seen.append(route.request.headers.get("authorization"))
        if seen[-1] == "Bearer right":
            return route.continue_()
        return route.fulfill(status=401, json={"error": {"code": "unauthorised", "message": "no token", "request_id": "r"}})

    page.route("**/v1/**", guard)
    page.reload()
    page.fill("#token-value", "wrong")
    page.press("#token-value", "Enter")
    expect(page.locator("#token-why")).to_contain_text("not the token")
    page.fill("#token-value", "right")
    page.press("#token-value", "Enter")
    expect(cards).to_have_count(4)
    assert seen[:3] == [None, "Bearer wrong", "Bearer right"]
    answered_with_token(page)
    assert set(seen[3:]) == {"Bearer right"}


def answered_with_token(page: Page) -> None:
    pick(page)
    answered(page, DESCRIBE)


def test_stop_ends_the_work_of_the_server(page: Page, site: Site) -> None:
    pick(page)
    site.oracle.hold()
    turn = ask(page, DESCRIBE)
    expect(page.locator("#now")).to_have_text("Looking at the video")
    page.locator("#stop").click()
    ends(turn, "stopped")
    expect(page.locator("#send")).to_be_visible()
    site.oracle.release()
    answered(page, ZEBRA)
    assert site.oracle.left == [DESCRIBE]


def test_a_file_can_be_dropped(page: Page) -> None:
    content = base64.b64encode(gallery.content("shapes") or b"").decode()
    page.evaluate(
        """(content) => {
          const dropped = new DataTransfer();
          dropped.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], "mine.mp4", { type: "video/mp4" }));
          document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dropped }));
        }""",
        content,
    )
    expect(page.locator("#about")).to_have_text("mine.mp4 · 3.0 s · 256 × 256")


def test_the_keyboard_is_enough(page: Page) -> None:
    expect(page.locator(".card:not([disabled])")).to_have_count(4)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.clip") == "things":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type(DESCRIBE)
    page.keyboard.press("Enter")
    ends(page.locator(".turn"), "done")
    page.keyboard.press("Escape")
    page.locator("#question").blur()
    page.keyboard.press("2")
    expect(page.locator(".turn .chip").nth(1)).to_have_attribute("aria-pressed", "true")
    page.focus(".film .play")
    for _ in range(23):
        page.keyboard.press("ArrowLeft")
    shows(page, 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press(".")
    shows(page, 2)
    page.keyboard.press("ArrowLeft")
    shows(page, 1)
    page.keyboard.press(" ")
    until(page, "() => !document.querySelector('.film video').paused")
    page.keyboard.press(" ")
    until(page, "() => document.querySelector('.film video').paused")
    page.keyboard.press("/")
    expect(page.locator("#question")).to_be_focused()
    page.locator("#question").blur()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()


UNNAMED = """() => [...document.querySelectorAll("input, button, a, textarea, select, [role=button]")]
  .filter((one) => one.offsetWidth > 1 && !one.ariaLabel && !one.textContent.trim() && !one.labels?.length)
  .map((one) => one.outerHTML)"""
SMALL = """() => [...document.querySelectorAll("button, .chip, select")]
  .filter((one) => one.offsetWidth > 1 && Math.min(one.offsetWidth, one.offsetHeight) < 24)
  .map((one) => one.outerHTML)"""


def test_a_phone_shows_everything_without_scrolling_sideways(phone: Page) -> None:
    def fits() -> None:
        assert phone.evaluate("document.documentElement.scrollWidth") == 360
        assert phone.evaluate(UNNAMED) == []
        assert phone.evaluate(SMALL) == []

    expect(phone.locator(".card:not([disabled])")).to_have_count(4)
    fits()
    pick(phone)
    fits()
    turn = answered(phone, DESCRIBE)
    fits()
    turn.locator(".chip").nth(2).tap()
    expect(turn.locator(".chip").nth(2)).to_have_attribute("aria-pressed", "true")
    expect(phone.locator(".film .screen")).to_be_in_viewport()
    expect(phone.locator("#question")).to_be_in_viewport()
    turn.locator(".fix").tap()
    fits()


def test_on_a_phone_phrases_of_earlier_answers_are_not_behind_the_film(phone: Page) -> None:
    pick(phone)
    first = answered(phone, DESCRIBE)
    for _ in range(2):
        answered(phone, DESCRIBE)
    for chip in first.locator(".chip").all():
        chip.tap(timeout=5000)
    first.locator(".fix").tap(timeout=5000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_one_chooses(site: Site, chromium: Browser, scheme: str) -> None:
    context = chromium.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    for page in opened(context, site.url):
        assert contrast(page) >= 7
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        expect(page.locator("#theme")).to_have_attribute("aria-pressed", str(scheme == "dark").lower())
        page.locator("#theme").click()
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") != scheme
        assert contrast(page) >= 7


def contrast(page: Page) -> float:
    """Of text and page, as WCAG counts it."""
    said = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    channels = np.array([[int(value) for value in re.findall(r"\d+", colour)[:3]] for colour in said]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    high, low = sorted(linear @ [0.2126, 0.7152, 0.0722], reverse=True)
    return float((high + 0.05) / (low + 0.05))


@pytest.fixture
def lively(site: Site, chromium: Browser) -> Iterator[Page]:
    """A window of somebody who does not mind motion."""
    yield from opened(chromium.new_context(), site.url)


def test_an_answer_plays_by_itself_where_motion_is_welcome(lively: Page) -> None:
    pick(lively)
    answered(lively, DESCRIBE)
    until(lively, "() => !document.querySelector('.film video').paused")
    lively.locator(".film .play").click()
    until(lively, "() => document.querySelector('.film video').paused")
