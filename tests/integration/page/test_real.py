"""The page over the real steps: a small model that was taught one answer, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from serve.backends.inprocess import InProcess
from serve.ingress import api
from serve.settings import Settings
from tests import fakes
from tests.integration.page.acts import answered, pick, seek
from tests.integration.page.conftest import opened
from tests.integration.page.oracle import running
from vglamm.walk import Walk

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    backend = InProcess({"fake": Walk.of(fakes.talker(), fakes.tokenizer())}, str(tmp_path))
    with running(api(backend, Settings(str(tmp_path)))) as url:
        yield from opened(chromium.new_context(reduced_motion="reduce"), url)
    backend.close()


def test_ask_again_and_correct(page: Page) -> None:
    pick(page, "shapes")
    turn = answered(page, "Who is there?")
    expect(turn.locator(".text")).to_have_text("a cat sees a dog frames:(1,3).")
    expect(turn.locator(".chip")).to_have_text(["a cat", "a dog"])
    expect(turn.locator(".when")).to_contain_text("Moment:")
    expect(page.locator(".film .name")).to_have_text(["a cat", "a dog", "named moment"])
    answered(page, "And now?")
    expect(page.locator(".turn")).to_have_count(2)
    seek(page, 3)
    page.keyboard.press("c")
    page.locator(".tool").click(position={"x": 40, "y": 40})
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator(".turn").nth(1)).to_have_attribute("data-state", "done")
    expect(page.locator(".trouble")).to_have_count(0)
