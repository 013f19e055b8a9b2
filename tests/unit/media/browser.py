"""A real headless Chromium, driven over the WebDriver protocol by the standard library, in real time."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT_SECONDS = 90


@contextmanager
def page_in_browser(chromedriver: str, chromium: str, page: Path) -> Iterator[Browser]:
    """The page opened in a browser of its own, which ends with the block."""
    driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"started successfully on port (\d+)", line)))
        browser = Browser(f"http://127.0.0.1:{port}", chromium, page.parent / "profile")
        try:
            browser.call("url", url=page.as_uri())
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
