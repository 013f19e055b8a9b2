"""What a person does on the page, and what is seen on it."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from serve.http import gallery
from vglamm.data.world import FPS
from vglamm.data.world.scene import Scene

SCENES = {plan.name: plan.scene() for plan in gallery.DRAWN}


def pick(page: Page, name: str = "things") -> Scene:
    """Take a clip of the gallery; the scene that it shows."""
    page.locator(f"[data-clip={name}]:not([disabled])").click()
    expect(page.locator(".film")).to_be_visible()
    until(page, "() => document.querySelector('.film video').readyState >= 2")
    return SCENES[name]


def ask(page: Page, question: str) -> Locator:
    """Ask, and not wait: the turn."""
    before = page.locator(".turn").count()
    page.fill("#question", question)
    page.press("#question", "Enter")
    turn = page.locator(".turn").nth(before)
    expect(turn).to_be_visible()
    return turn


def answered(page: Page, question: str) -> Locator:
    """Ask, and wait for the end: the turn."""
    turn = ask(page, question)
    ends(turn, "done")
    return turn


def ends(turn: Locator, state: str) -> None:
    expect(turn).to_have_attribute("data-state", state)


def forget(page: Page, session: str | None) -> None:
    """End a session behind the page's back."""
    page.evaluate("(session) => fetch(`/v1/sessions/${session}`, { method: 'DELETE' }).then((answer) => answer.status)", session)


def seek(page: Page, position: int) -> None:
    """Go to a frame by the keys of the time line, and wait until it is on the screen."""
    page.focus(".film input[type=range]")
    page.keyboard.press("Home")
    for _ in range(position):
        page.keyboard.press("ArrowRight")
    shows(page, position)


def shows(page: Page, position: int) -> None:
    """Wait for a frame. Paused, and the time line where the video is."""
    condition = """([at, step]) => {
      const video = document.querySelector(".film video"), { value } = document.querySelector(".film input");
      const there = video.currentTime >= at - 0.001 && video.currentTime < at + step;
      return video.paused && !video.seeking && there && Math.abs(value - at) < 0.01;
    }"""
    until(page, condition, [position / FPS, 1 / FPS])


def until(page: Page, condition: str, argument: object = None) -> None:
    """Wait for a function of the page to be true. Playwright's own wait evaluates text in the page, which its policy forbids."""
    look = f"const look = () => (({condition})(argument) ? done() : setTimeout(look, 50))"
    page.evaluate(f"(argument) => new Promise((done) => {{ {look}; look(); }})", argument)


def drawn(page: Page) -> NDArray[np.uint8]:
    """The masks as they were drawn last: uint8[H, W], how much they cover."""
    found = page.evaluate(
        """() => {
          let alpha = "";
          for (let p = 3; p < drawn.data.length; p += 4) alpha += String.fromCharCode(drawn.data[p]);
          return { size: [drawn.height, drawn.width], alpha: btoa(alpha) };
        }"""
    )
    return np.frombuffer(base64.b64decode(found["alpha"]), np.uint8).reshape(found["size"])


def filled(page: Page) -> NDArray[np.bool_]:
    """Pixels whose mask is shown, not merely outlined as one that another dims."""
    return drawn(page) > 100


def ids(scene: Scene, noun: str) -> list[int]:
    """The objects with this noun."""
    return [item.id for item in scene.objects if item.noun == noun]
