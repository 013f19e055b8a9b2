"""`vglamm export` on a run on disk: the screen, the file, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run
from tests.unit.export.runs import SUBMITTED, an_answer, asked, failed, moving, ok, write_run
from vglamm.commands.export import Form, StatusOfFailed
from vglamm.export.formats import FORMATS
from vglamm.export.settings import LeftOut


def test_the_command_offers_every_format_and_fate() -> None:
    assert [form.value for form in Form] == list(FORMATS)
    assert [fate.value for fate in StatusOfFailed] == [fate.value for fate in LeftOut]


def test_rows_are_written_and_those_left_out_are_told(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_run(tmp_path / "run", [ok(), failed(), failed("c", "skipped", "VideoTooLarge")])
    assert run("export", source, "ytvis", tmp_path / "out.json") == 0
    captured = capsys.readouterr()
    told = " ".join(captured.out.split())
    assert "1 ok, 1 failed, 1 skipped (VideoTooLarge 1, VideoUnreadable 1)" in told
    assert "2 rows without an answer: left out" in " ".join(captured.err.split())
    assert len(json.loads((tmp_path / "out.json").read_text())["videos"]) == 1


def test_a_second_export_needs_a_word(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_run(tmp_path / "run", [ok()])
    assert run("export", source, "palette", tmp_path / "out") == 0
    assert run("export", source, "palette", tmp_path / "out") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("export", source, "palette", tmp_path / "out", "--overwrite") == 0


def test_failed_rows_can_be_an_error_or_empty(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = an_answer(moving(2, 2), (0, 1), 2)
    rows = [asked(ok("v", answer), "0", 2), asked(failed("w", video="v"), "1", 2)]
    source = write_run(tmp_path / "run", rows, SUBMITTED)
    target = tmp_path / "out.zip"
    assert run("export", source, "mevis", target) == 2
    assert run("export", source, "mevis", target, "--status-of-failed", "error") == 2
    assert not target.exists()
    assert run("export", source, "mevis", target, "--status-of-failed", "empty") == 0
    assert target.exists()
    assert "empty masks" in capsys.readouterr().err
