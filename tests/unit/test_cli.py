"""The console command: help, exit codes, and errors in three parts without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from vglamm import cli, doctor
from vglamm.commands.extras import lacking
from vglamm.errors import VideoNotFound


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        cli.main(words)
    return int(exit.value.code or 0)


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[doctor.Finding]:
    """Stands in for a machine: what the doctor command finds."""
    found = [doctor.Finding("python", "ok", "3.11"), doctor.Finding("gpu", "warn", "none [here]", "buy one")]
    monkeypatch.setattr(doctor, "examine", lambda model: iter(found))
    return found


def test_help_names_every_command_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert command.callback.__name__ in shown


def test_help_answers_within_a_second_and_imports_nothing_heavy() -> None:
    at_exit = "import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))"
    code = f"{at_exit}; from vglamm.cli import main; main(['--help'])"
    times = []
    for _ in range(3):
        began = time.perf_counter()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        times.append(time.perf_counter() - began)
    assert "doctor" in result.stdout
    assert not {"torch", "transformers", "sam2", "ray", "numpy", "av", "decord"} & set(result.stderr.split())
    assert min(times) < 1.0


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("vglamm 0.")


@pytest.mark.parametrize("words", [["--nonsense"], ["nonsense"], ["doctor", "--nonsense"]])
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "nonsense" in capsys.readouterr().err


def test_doctor_shows_findings_as_they_are(findings: list[doctor.Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    assert "none [here]" in capsys.readouterr().out  # not taken for markup


def test_doctor_writes_json(findings: list[doctor.Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert written == [
        {"name": "python", "state": "ok", "found": "3.11", "fix": ""},
        {"name": "gpu", "state": "warn", "found": "none [here]", "fix": "buy one"},
    ]


def test_doctor_exits_1_if_something_blocks(findings: list[doctor.Finding]) -> None:
    findings.append(doctor.Finding("decoders", "block", "none", "install av"))
    assert run("doctor") == 1


def failing(error: BaseException) -> Iterator[doctor.Finding]:
    yield doctor.Finding("python", "ok", "3.11")
    raise error


ABSENT = VideoNotFound("no file 'a [b].mp4'", "a video", "check the path")


def test_an_error_is_told_in_three_parts_and_exits_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(ABSENT))
    assert run("doctor") == 2
    shown = capsys.readouterr().err
    for part in ("VideoNotFound", "no file 'a [b].mp4'", "a video", "check the path"):
        assert part in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("words", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_lets_the_error_through(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(ABSENT))
    with pytest.raises(VideoNotFound):
        cli.main(words)


def test_a_file_that_cannot_be_written_exits_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(PermissionError(13, "Permission denied", "out.json")))
    assert run("doctor") == 2
    assert "out.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 7.45 TiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
        ),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation"),
    ],
)
def test_no_memory_is_a_problem_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(error))
    assert run("doctor") == 2
    shown = capsys.readouterr().err
    assert "EnvironmentProblem" in shown
    assert "bfloat16" in shown
    assert "Traceback" not in shown
    with pytest.raises(type(error)):
        cli.main(["doctor", "--debug"])


def test_what_torch_says_without_memory_is_understood() -> None:
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert any(sign in str(raised.value) for sign in cli.NO_MEMORY)


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(KeyboardInterrupt()))
    assert run("doctor") == 130


@pytest.mark.parametrize(("module", "extra"), [("ray.data", "data"), ("scipy", "eval"), ("deepspeed", "train")])
def test_a_package_of_an_extra_that_is_not_installed_is_named_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, extra: str
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    assert run("doctor") == 2
    shown = capsys.readouterr().err
    assert f"no package {module.partition('.')[0]}" in shown
    assert f"pip install 'vglamm[{extra}]'" in shown


def test_the_extra_of_a_package_that_several_bring_is_that_of_the_command() -> None:
    for command in ("train", "serve"):
        problem = lacking(ModuleNotFoundError(name="ray"), [command, "x"])
        assert problem is not None
        assert f"vglamm[{command}]" in problem.fix


@pytest.mark.parametrize("module", ["vglamm.nothing", "ray_jobs.nothing", "left_out", None])
def test_a_module_that_no_extra_brings_is_a_bug(monkeypatch: pytest.MonkeyPatch, module: str | None) -> None:
    monkeypatch.setattr(doctor, "examine", lambda model: failing(ModuleNotFoundError("No module", name=module)))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["doctor"])


def test_a_bug_is_not_dressed_up_as_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ZeroDivisionError, RuntimeError):
        monkeypatch.setattr(doctor, "examine", lambda model, error=error: failing(error("shapes do not fit")))
        with pytest.raises(error):
            cli.main(["doctor"])
