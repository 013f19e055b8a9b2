"""The viewer in a real Chromium: search, open a row, press a phrase, see its mask on the right frame of the video."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.unit.media.browser import Browser, browser_at
from tests.unit.view.runs import filmed, mixed, write_run
from vglamm.annotation import Annotation
from vglamm.show import overlay
from vglamm.view.server import Viewer
from vglamm.view.site import Site

pytestmark = pytest.mark.browser
SEEDS = (41, 42, 43)
MANY = 70

UNTIL = "const until = async (ready) => { while (!ready()) await new Promise((on) => setTimeout(on, 20)); };"


@contextmanager
def viewing(run: Path) -> Iterator[str]:
    """The address of a viewer of this run."""
    with Viewer(Site(str(run))) as viewer:
        thread = threading.Thread(target=viewer.serve_forever)
        thread.start()
        try:
            yield viewer.url
        finally:
            viewer.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Annotation]:
    return filmed(tmp_path_factory.mktemp("films"), SEEDS, first=MANY)


@pytest.fixture(scope="module")
def browser(
    films: list[Annotation], tmp_path_factory: pytest.TempPathFactory, requires_chromium: str, requires_chromedriver: str
) -> Iterator[Browser]:
    run = write_run(tmp_path_factory.mktemp("run"), mixed(MANY) + films, parts=2, summary=True)
    profile = tmp_path_factory.mktemp("profile")
    with viewing(run) as url, browser_at(requires_chromedriver, requires_chromium, url, profile) as opened:
        opened.home = url.partition("?")[0]  # type: ignore[attr-defined]
        yield opened


def at(browser: Browser, path: str) -> None:
    browser.call("url", url=browser.home.rstrip("/") + path)  # type: ignore[attr-defined]


def seen(browser: Browser) -> dict:
    """The row on the screen once its video is shown: where it stands, and the pixels that have a mask."""
    return browser.wait_for(
        UNTIL
        + """
        (async () => {
          await until(() => row.entry && (!row.entry.video || row.entry.video.readyState >= 2));
          const { entry } = row, { data } = entry.layer.getContext("2d").getImageData(0, 0, entry.w, entry.h);
          const screen = entry.canvas.getContext("2d").getImageData(0, 0, entry.canvas.width, entry.canvas.height).data;
          const marked = [], drawn = screen.filter((value, n) => n % 4 === 3 && value).length;
          for (let p = 0; p < entry.w * entry.h; p++) if (data[4 * p + 3]) marked.push(p);
          done({ id: row.id, position: entry.position, size: [entry.h, entry.w], marked, drawn });
        })();
        """
    )


def test_search_open_press(browser: Browser, films: list[Annotation]) -> None:
    at(browser, "/")
    assert browser.run("return document.querySelectorAll('#rows li').length") == 50
    browser.keys("input[type=search]", films[0].id)
    browser.wait_for(UNTIL + "until(() => document.querySelectorAll('#rows li').length < 50).then(done)")
    assert browser.run("return [...document.querySelectorAll('#rows .id')].map((id) => id.textContent)")[0] == films[0].id
    assert "q=world" in browser.run("return location.search")
    browser.click("#rows a")
    shown = seen(browser)
    answer = films[0].answer
    assert answer is not None
    assert shown["id"] == films[0].id
    assert shown["position"] == overlay.key_position(answer)
    masks = [overlay.resize_mask(answer.masks(track)[shown["position"]], shown["size"]) for track in range(len(answer.tracks))]
    assert shown["marked"] == np.flatnonzero(np.any(masks, axis=0)).tolist()
    assert shown["drawn"] > 0
    browser.click(".chip")
    assert browser.run("return document.querySelector('.chip').getAttribute('aria-pressed')") == "true"
    browser.wait_for(UNTIL + "until(() => row.entry.lit().size === 1 && !row.entry.video.seeking).then(done)")
    assert seen(browser)["drawn"] > 0
    assert browser.complaints() == []


def test_keys(browser: Browser, films: list[Annotation]) -> None:
    at(browser, f"/row?id={films[0].id}")
    seen(browser)
    browser.keys("body", " ")
    browser.wait_for(UNTIL + "until(() => !row.entry.video.paused).then(done)")
    browser.keys("body", " ")
    browser.wait_for(UNTIL + "until(() => row.entry.video.paused).then(done)")
    browser.keys("body", "j")
    assert seen(browser)["id"] == films[1].id
    browser.keys("body", "k")
    assert seen(browser)["id"] == films[0].id
    browser.keys("body", "\ue00c")  # Escape
    assert browser.run("return document.querySelector(':target .id').textContent") == films[0].id
    browser.keys("body", "j")
    assert browser.run("return document.activeElement.querySelector('.id').textContent") == films[1].id
    browser.keys("body", "/")
    assert browser.run("return document.activeElement.name") == "q"
    assert browser.complaints() == []


def test_a_video_that_is_gone_leaves_masks_on_black(browser: Browser) -> None:
    at(browser, "/row?id=v00000")
    shown = seen(browser)
    assert len(shown["marked"]) > 0
    assert "gone/v0.mp4" in browser.run("return document.getElementById('trouble').textContent")
    dark = """
      const c = document.createElement("canvas");
      c.width = c.height = 1;
      c.getContext("2d").drawImage(row.entry.video, 0, 0, 1, 1);
      return Math.max(...c.getContext("2d").getImageData(0, 0, 1, 1).data.slice(0, 3));
    """
    assert browser.run(dark) < 8
    assert all("/video?id=v00000" in line for line in browser.complaints())  # the 404 of the video and nothing else


def test_nothing_comes_from_elsewhere(browser: Browser, films: list[Annotation]) -> None:
    at(browser, f"/row?id={films[0].id}")
    seen(browser)
    loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert all(name.startswith((browser.home, f"blob:{browser.home}")) for name in loaded)  # type: ignore[attr-defined]
    blocked = browser.wait_for(
        """
        document.addEventListener("securitypolicyviolation", (e) => done(e.violatedDirective), { once: true });
        document.body.append(Object.assign(document.createElement("img"), { src: "http://127.0.0.1:9/x.png" }));
        """
    )
    assert blocked == "img-src"
    browser.complaints()


@pytest.mark.parametrize("path", ["/", "/row?id=v00003", "/row?id=v00000"])
def test_pages_fit_a_phone(browser: Browser, path: str) -> None:
    browser.emulate("setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    try:
        at(browser, path)
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        unnamed = "[...document.querySelectorAll('input, button, a, video')].filter((e) => e.offsetWidth && e.type !== 'hidden' && "
        unnamed += "!e.ariaLabel && !e.textContent.trim()).map((e) => e.outerHTML)"
        assert browser.run(f"return {unnamed}") == []
    finally:
        browser.emulate("clearDeviceMetricsOverride")
        browser.complaints()
