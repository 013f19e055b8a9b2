"""Coming back to an answer: corrections and downloads that are refused, left, or of a conversation that is over."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.integration.page.acts import answered, ends, forget, pick
from tests.integration.page.conftest import Site
from vglamm.answer import Answer

pytestmark = pytest.mark.browser
DESCRIBE = "Describe the video."
ZEBRA = "Show the zebra."


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
    with page.expect_response("**/corrections") as corrected:
        first.locator(".fix").click()
        page.keyboard.press("+")
        page.keyboard.press("Enter")
    assert corrected.value.status == 410
    ends(first, "done")
    assert (first.locator(".text").inner_text(), second.locator(".text").inner_text()) == said
    with page.expect_download() as kept:
        second.locator("[data-file='answer.json']").click()
    assert Answer.from_json(Path(kept.value.path()).read_bytes()).question == ZEBRA
