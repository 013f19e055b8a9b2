"""A real Chromium on the real application, over a backend that tells the truth about the clips of the gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from serve.ingress import api
from serve.settings import Settings, Taken
from tests.integration.page.oracle import Oracle, running

SECONDS = 120
"""A machine at work is slow; no test waits for this when all is well."""
LARGEST = 2 << 20
REFUSED = "Failed to load resource"
"""What Chromium itself notes of a refusal or a lost connection; what the page makes of it is for the tests to see."""
expect.set_options(timeout=SECONDS * 1000)

WATCH = """
(() => {
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (image, ...rest) {
    window.drawn = image;
    return put.call(this, image, ...rest);
  };
  document.addEventListener("securitypolicyviolation", (e) => { (window.violations ??= []).push(e.violatedDirective); });
})();
"""
"""Keeps the masks that were drawn last, at the size of the video, and what the page's policy forbade."""


@dataclass
class Site:
    """The application that is open. wrong: errors of scripts and of the console since the last look."""

    url: str
    oracle: Oracle


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("spool")
    oracle = Oracle(folder)
    taken = Taken()
    settings = Settings(str(folder), taken=replace(taken, media=replace(taken.media, bytes=LARGEST)))
    with running(api(oracle, settings)) as url:
        yield Site(url, oracle)


@pytest.fixture(scope="module")
def chromium(requires_chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=requires_chromium)
        yield browser
        browser.close()


def opened(context: BrowserContext, url: str) -> Iterator[Page]:
    """The page at ``url``; at the end it must have had no error and asked nobody else for anything."""
    page, wrong, elsewhere = context.new_page(), list[str](), list[str]()
    page.set_default_timeout(SECONDS * 1000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" and REFUSED not in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, f"blob:{url}")) else elsewhere.append(asked.url))
    page.add_init_script(WATCH)
    page.goto(url)
    yield page
    assert (wrong, elsewhere, page.evaluate("window.violations ?? []")) == ([], [], [])
    context.close()


@pytest.fixture
def page(site: Site, chromium: Browser) -> Iterator[Page]:
    """The page in a window of a desk, where nothing moves by itself."""
    site.oracle.failing.clear()
    site.oracle.asked.clear()
    site.oracle.left.clear()
    site.oracle.release()
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce", accept_downloads=True)
    yield from opened(context, site.url)
    site.oracle.release()


@pytest.fixture
def phone(site: Site, chromium: Browser) -> Iterator[Page]:
    size = {"width": 360, "height": 740}
    context = chromium.new_context(viewport=size, device_scale_factor=2, is_mobile=True, has_touch=True, reduced_motion="reduce")
    yield from opened(context, site.url)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A file that says it is a video and is none."""
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(4000))
    return path
