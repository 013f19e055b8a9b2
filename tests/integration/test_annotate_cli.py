"""`vglamm annotate` as a user has it: a process with a Ray of its own, its exit codes, its lines, its second run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.bulk import clips, talking_checkpoint
from vglamm import annotation

VGLAMM = Path(sys.executable).with_name("vglamm")
pytestmark = pytest.mark.ray


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(VGLAMM), "annotate", *map(str, words)], capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.slow
def test_failures_show_in_the_exit_code_and_a_second_run_redoes_nothing(tmp_path: Path) -> None:
    model = talking_checkpoint(tmp_path / "model")
    clips(tmp_path / "videos", 2)
    (tmp_path / "videos" / "empty.mp4").touch()
    words = [tmp_path / "videos", "--question", "who?", "--model", model, "--every-frame", "--out", tmp_path / "out"]
    first = run(*words, "--tracking", "local")
    assert first.returncode == 1, first.stderr
    assert "33.3% of the rows failed" in first.stderr
    assert "Traceback" not in first.stderr
    line = json.loads([line for line in first.stderr.splitlines() if line.startswith("{")][-1])  # the one at the end
    assert (line["videos"], line["done"], line["failed_rows"]) == (3, 3, 1)
    assert set(line["stages"]) == {"decode", "vision", "language", "pixel"}
    assert [row.status for row in annotation.read(tmp_path / "out")] == ["ok", "ok", "failed"]
    assert list((tmp_path / "mlflow").rglob("00000000.png"))
    second = run(*words, "--max-failed", "0.5")
    assert second.returncode == 0, second.stderr
    assert "0 videos in" in second.stdout
    assert "3 were done before" in second.stdout


@pytest.mark.slow
def test_another_run_in_the_folder_and_a_profile_too_large_exit_2(tmp_path: Path) -> None:
    model = talking_checkpoint(tmp_path / "model")
    clips(tmp_path / "videos", 1)
    words = [tmp_path / "videos", "--question", "who?", "--model", model, "--out", tmp_path / "out"]
    result = run(*words, "--profile", "one-gpu")
    assert result.returncode == 2
    assert all(part in result.stderr for part in ("profile one-gpu", "expected", "to do"))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_and_forecasts_without_ray(tmp_path: Path) -> None:
    model = talking_checkpoint(tmp_path / "model")
    [path] = clips(tmp_path / "videos", 1)
    result = run(path.parent, "--ask", "segment:cat,dog", "--model", model, "--out", tmp_path / "out", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert f"{path.stat().st_size:,}" in result.stdout
    assert "as measured here on 1" in " ".join(result.stdout.split())
    assert not (tmp_path / "out").exists()
