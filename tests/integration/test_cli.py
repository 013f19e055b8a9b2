"""The console command as a user has it: a process, a checkpoint folder, a clip, files, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fakes
from vglamm import checkpoint, demo
from vglamm.answer import Answer
from vglamm.media.mp4 import write_mp4
from vglamm.media.read import open_video

VGLAMM = Path(sys.executable).with_name("vglamm")


def run(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [str(VGLAMM), *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **settings)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "fake"
    checkpoint.save(fakes.model(), path, tokenizer=fakes.tokenizer())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    write_mp4(path, ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    return path


def test_a_question_gives_an_answer_on_stdout_and_an_overlay(folder: Path, clip: Path, tmp_path: Path) -> None:
    result = run("ask", clip, "who?", "--model", folder, "--every-frame", "--json", "-", "--overlay", tmp_path / "a.html")
    assert result.returncode == 0, result.stderr
    answer = Answer.from_json(result.stdout)
    assert answer.question == "who?"
    assert "of 12 frames at 6 fps" in result.stderr
    assert "<html" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("video", "model", "told"),
    [
        ("nowhere.mp4", None, ["VideoNotFound", "nowhere.mp4"]),
        (__file__, None, ["VideoUnreadable", Path(__file__).name]),
        (None, "no/such/folder", ["CheckpointError", "no/such/folder"]),
    ],
)
def test_an_error_exits_2_in_three_parts_without_a_traceback(
    folder: Path, clip: Path, video: str | None, model: str | None, told: list[str]
) -> None:
    result = run("ask", video or clip, "who?", "--model", model or folder)
    assert result.returncode == 2
    flat = result.stderr.replace("\n", "")
    assert [part for part in (*told, "got", "expected", "to do") if part not in flat] == []
    assert "Traceback" not in result.stderr


def test_debug_shows_where_it_failed(folder: Path) -> None:
    result = run("ask", "nowhere.mp4", "who?", "--model", folder, "--debug")
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "VideoNotFound" in result.stderr


def test_ctrl_c_exits_130_and_leaves_no_process(folder: Path, tmp_path: Path) -> None:
    command = [VGLAMM, "demo", "--model", folder, "--out", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert "drawn" in process.stdout.readline()  # it has begun, and five questions are left
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_the_demonstration_writes_what_it_promises(folder: Path, tmp_path: Path) -> None:
    result = run("demo", "--model", folder, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    asked = sum(len(sample.turns) for sample in demo.clips().values())
    assert result.stdout.count("truth  ") == asked
    assert len(open_video(tmp_path / "film-3.mp4")) == 16
    page = (tmp_path / "index.html").read_text()
    assert "Segment" in page
    assert not [word for word in ("http://", "https://", 'src="/') if word in page.split("</head>")[1]]


def test_the_doctor_finds_this_installation_well() -> None:
    result = run("doctor", "--json", "--model", "tiny")
    assert result.returncode == 0, result.stdout
    findings = {finding["name"]: finding["state"] for finding in json.loads(result.stdout)}
    assert findings["decoders"] == findings["packages"] == findings["tiny memory"] == "ok"
