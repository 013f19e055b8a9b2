"""`vglamm view` prints an address that lets its reader in, and ends with Ctrl-C without a traceback."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run
from tests.unit.view.runs import mixed, write_run


def test_address_and_ctrl_c(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mixed(20))
    command = [sys.executable, "-c", "from vglamm.cli import main; main()", "view", str(run), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", address)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(address, timeout=30) as page:
                assert "1 to 20 of 20" in page.read().decode()
                assert "token" not in page.url
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_folder_that_is_no_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("view", tmp_path, "--no-browser") == 2
    assert "part-*.parquet" in capsys.readouterr().err
