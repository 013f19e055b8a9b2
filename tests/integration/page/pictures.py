"""Pictures of the page for the README, by a real Chromium on the real application:

python -m tests.integration.page.pictures tiny           # or a checkpoint folder; writes docs/page.png and docs/page-phone.png
python -m tests.integration.page.pictures truth out      # the answers of a perfect model, into another folder
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import vglamm
from serve.backends.inprocess import InProcess
from serve.ingress import api
from serve.settings import Settings
from tests.integration.page.acts import answered, pick, seek
from tests.integration.page.oracle import Oracle, running

CLIP, FRAME = "things", 9
QUESTIONS = ("Describe the video.", "Segment the hamburger that spins.")
WINDOWS: dict[str, dict[str, Any]] = {
    "page": {"viewport": {"width": 1280, "height": 820}},
    "page-phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
}


def main(model: str, folder: Path) -> None:
    """model: a checkpoint, or "truth" for the backend of the tests. folder: where the pictures go."""
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryDirectory())
        if model == "truth":
            backend: Any = Oracle(Path(spool))
        else:
            backend = InProcess({"tiny": vglamm.load(model)}, spool)
            stack.callback(backend.close)
        url = stack.enter_context(running(api(backend, Settings(spool))))
        chromium = stack.enter_context(sync_playwright()).chromium.launch(executable_path=shutil.which("chromium"))
        stack.callback(chromium.close)
        folder.mkdir(parents=True, exist_ok=True)
        for name, window in WINDOWS.items():
            page = chromium.new_context(reduced_motion="reduce", **window).new_page()
            page.set_default_timeout(600_000)
            page.goto(url)
            _talk(page)
            path = folder / f"{name}.png"
            page.screenshot(path=path)
            _shrink(path)


def _talk(page: Page) -> None:
    pick(page, CLIP)
    for question in QUESTIONS:
        answered(page, question)
    page.locator(".turn .chip").first.click()  # back to the first answer, whose masks are shown now
    page.locator(".turn .chip").first.click()
    page.mouse.move(2, 2)
    seek(page, FRAME)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


def _shrink(path: Path) -> None:
    """To a palette of 256 colours: a README should load at once."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "docs"))
