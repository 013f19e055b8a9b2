"""A real headless Chromium, driven over the WebDriver protocol by the standard library, in real time."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

SCRIPT_SECONDS = 90


def page_in_browser(chromedriver: str, chromium: str, page: Path) -> AbstractContextManager[Browser]:
    """The page opened in a browser of its own, which ends with the block."""
    return browser_at(chromedriver, chromium, page.as_uri(), page.parent / "profile")


@contextmanager
def browser_at(chromedriver: str, chromium: str, url: str, profile: Path) -> Iterator[Browser]:
    """The address opened in a browser of its own, which keeps its things in ``profile`` and ends with the block."""
    driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"started successfully on port (\d+)", line)))
        browser = Browser(f"http://127.0.0.1:{port}", chromium, profile)
        try:
            browser.call("url", url=url)
            yield browser
        finally:
            browser.call("", method="DELETE")
    finally:
        driver.terminate()
        driver.communicate(timeout=30)


class Browser:
    """One session."""

    def __init__(self, address: str, chromium: str, profile: Path) -> None:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--user-data-dir={profile}"]
        wanted = {"goog:chromeOptions": {"binary": chromium, "args": flags}, "timeouts": {"script": SCRIPT_SECONDS * 1000}}
        wanted["goog:loggingPrefs"] = {"browser": "ALL"}
        self.address = f"{address}/session"
        self.address += "/" + self.call("", capabilities={"alwaysMatch": wanted})["sessionId"]

    def call(self, command: str, *, method: str = "POST", **body: Any) -> Any:
        request = urllib.request.Request(f"{self.address}/{command}".rstrip("/"), method=method)
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode() if method == "POST" else None
        with urllib.request.urlopen(request, data, timeout=SCRIPT_SECONDS + 30) as answer:
            return json.load(answer)["value"]

    def wait_for(self, script: str) -> Any:
        """What the script hands to its ``done``."""
        return self.call("execute/async", script=f"const done = arguments[0]; {script}", args=[])

    def run(self, script: str) -> Any:
        """What the script returns."""
        return self.call("execute/sync", script=script, args=[])

    def click(self, selector: str) -> None:
        """A click on the first element that matches, as by a mouse; a page that it opens has loaded after that."""
        self.call(f"element/{self._element(selector)}/click")

    def keys(self, selector: str, text: str) -> None:
        """Type into an element."""
        self.call(f"element/{self._element(selector)}/value", text=text)

    def _element(self, selector: str) -> str:
        (name,) = self.call("element", using="css selector", value=selector).values()
        return str(name)

    def emulate(self, command: str, **parameters: Any) -> None:
        """A command of Chromium's own ``Emulation`` domain."""
        self.call("goog/cdp/execute", cmd=f"Emulation.{command}", params=parameters)

    def picture(self, path: Path) -> None:
        """Write what is on the screen as PNG."""
        path.write_bytes(base64.b64decode(self.call("screenshot", method="GET")))

    def complaints(self) -> list[str]:
        """Errors logged since the last call: of scripts, what the policy forbade, what did not load."""
        return [entry["message"] for entry in self.call("se/log", type="browser") if entry["level"] == "SEVERE"]
