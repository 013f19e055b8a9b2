"""The folder of a run keeps each row once, whatever was killed between two steps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ray_jobs.annotate.ledger import Ledger
from tests.unit.test_annotation import an_annotation
from vglamm import annotation
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.places import Place


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Place.of(tmp_path / "out"), 2)


def rows(position: int) -> list[annotation.Annotation]:
    return [an_annotation(id=f"v{position}", position=position)]


def test_rows_become_parts_in_order(ledger: Ledger, tmp_path: Path) -> None:
    ledger.claim({"model": "m"})
    for position in (1, 0, 2):
        ledger.write(position, rows(position))
    assert ledger.done(range(5)) == {0, 1, 2}
    ledger.close_part(0, [0, 1])
    assert [row.id for row in annotation.read(tmp_path / "out")] == ["v0", "v1"]
    assert ledger.done(range(5)) == {0, 1, 2}
    assert [path.name for path in (tmp_path / "out" / "rows").iterdir()] == ["00000002.parquet"]
    assert ledger.statuses() == {"ok": 2}


def test_killed_between_the_part_and_the_end_of_its_rows(ledger: Ledger, tmp_path: Path) -> None:
    for position in (0, 1):
        ledger.write(position, rows(position))
    ledger.close_part(0, [0, 1])
    ledger.write(1, rows(1))  # as if it had not been deleted yet
    ledger.close_part(0, [0, 1])
    assert [row.id for row in annotation.read(tmp_path / "out")] == ["v0", "v1"]
    assert not list((tmp_path / "out" / "rows").iterdir())


def test_the_same_run_is_recognised_and_another_refused(ledger: Ledger) -> None:
    assert ledger.known({"model": "m", "settings": {"fps": 1}}) is False
    assert not Path(ledger.place.path).exists(), "to look is not to claim"
    assert ledger.claim({"model": "m", "settings": {"fps": 1}}) is False
    assert ledger.claim({"model": "m", "settings": {"fps": 1}}) is True
    with pytest.raises(ConfigError, match=r"another run in .*out \(settings.fps: 1 there, 2 now\)"):
        ledger.claim({"model": "m", "settings": {"fps": 2}})


def test_what_is_unlike_is_named_also_among_much(ledger: Ledger) -> None:
    def wanted(manifest: str, **sampling: float | None) -> dict[str, object]:
        return {"manifest": manifest, "settings": {"limits": {f"of {n}": 2**40 for n in range(30)}, "sampling": sampling}}

    ledger.claim(wanted("a", fps=None))
    with pytest.raises(ConfigError, match=r"\(settings.sampling.fps: None there, 2.0 now\)"):
        ledger.claim(wanted("a", fps=2.0))
    with pytest.raises(ConfigError, match=r"\(other videos or questions\)"):
        ledger.claim(wanted("b", fps=None))


def test_a_folder_that_a_node_does_not_share_is_told(ledger: Ledger) -> None:
    with pytest.raises(EnvironmentProblem, match="does not share"):
        ledger.check_shared()
    ledger.claim({})
    ledger.check_shared()


def test_a_run_goes_on_that_was_begun_before_there_was_a_limit(ledger: Ledger) -> None:
    ledger.claim({"settings": {"limits": {"pixels": 9}}})
    assert ledger.claim({"settings": {"limits": {"pixels": 9, "aspect": 100.0}}}) is True
    with pytest.raises(ConfigError, match="another run"):
        ledger.claim({"settings": {"limits": {"pixels": 8, "aspect": 100.0}}})


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.pdf").touch()
    with pytest.raises(ConfigError, match=r"no run\.json"):
        ledger.claim({})


HOLDS = """
import sys
from ray_jobs.annotate.ledger import Ledger
from vglamm.places import Place
numbers = None if sys.argv[2] == "all" else {int(number) for number in sys.argv[2].split(",")}
with Ledger(Place.of(sys.argv[1]), 2).held(numbers):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("theirs", "ours", "free"),
    [("0,2", {1, 3}, True), ("0,2", {2, 3}, False), ("0,2", None, False), ("all", {5}, False), ("all", None, False)],
)
def test_processes_share_a_folder_by_its_parts(
    ledger: Ledger, repository: Path, theirs: str, ours: set[int] | None, free: bool
) -> None:
    words = [sys.executable, "-c", HOLDS, ledger.place.path, theirs]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        if free:
            with ledger.held(ours):
                pass
        else:
            with pytest.raises(ConfigError, match="another process at work on the same videos"), ledger.held(ours):
                pass
        other.stdin.close()
        other.wait()
    with ledger.held(ours):
        pass


def test_a_full_disk_is_named_and_leaves_nothing_half(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.claim({"model": "m"})
    ledger.write(0, rows(0))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vglamm.places.os.fsync", full)
    with pytest.raises(EnvironmentProblem, match=r"00000001\.parquet.*No space left on device.*the same command goes on"):
        ledger.write(1, rows(1))
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        ledger.close_part(0, [0])
    assert ledger.done(range(2)) == {0}
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["00000000.parquet", "run.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(Place.of(tmp_path / "file" / "out"), 2)
    with pytest.raises(EnvironmentProblem, match="Not a directory"), ledger.held(None):
        pass
