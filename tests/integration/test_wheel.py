"""The wheel: it holds what the package needs at run time, and works where there is no checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files that git knows, in a folder of its own, by this environment's setuptools."""
    room = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            target = room / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", room / "dist", room / "source"]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    (built,) = (room / "dist").glob("vglamm-*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel in it, which borrows all other packages from this one."""
    room = tmp_path_factory.mktemp("elsewhere")
    venv.create(room, with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", room / "bin" / "python", "install", "--no-deps", wheel]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (packages,) = room.glob("lib/python*/site-packages")
    here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "borrowed.pth").write_text(f"{here}\n")
    return room / "bin"


def test_everything_that_is_no_code_is_in_it(wheel: Path, repository: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "vglamm", "ray_jobs", "serve"], cwd=repository, capture_output=True, text=True, check=True
    )
    wanted = {name for name in listed.stdout.split("\n") if name and (repository / name).is_file()}
    assert wanted - inside == set()
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in inside}


def test_tests_and_tools_are_not_in_it(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.startswith("vglamm-")} == {"vglamm", "ray_jobs", "serve"}


def test_the_command_runs_from_it(elsewhere: Path, tmp_path: Path) -> None:
    result = subprocess.run([elsewhere / "vglamm", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "ask" in result.stdout


def test_the_generated_world_finds_its_pictures_in_it(elsewhere: Path, tmp_path: Path) -> None:
    code = "import vglamm; from vglamm.demo import clips; print(vglamm.__file__, [len(s.frames) for s in clips().values()])"
    result = subprocess.run(
        [elsewhere / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    where, lengths = result.stdout.split(" ", 1)
    assert Path(where).is_relative_to(elsewhere.parent)
    assert lengths.strip() == "[16, 16]"
