"""The table of `vglamm evaluate world`: every number that was promised, by kind and level, on a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Console

from vglamm.commands.scores import world
from vglamm.metrics.world import WorldScore
from vglamm.metrics.world_report import summarise


def score(kind: str, level: str, value: float, *, failed: bool = False) -> WorldScore:
    absent = kind == "absent"
    seen = None if absent else value
    return WorldScore(
        kind=kind,
        level=level,
        scene=f"{kind} {level}",
        failed=failed,
        text_exact=value,
        miou=seen,
        miou_everything=None if absent else 0.41,
        miou_random=None if absent else 0.27,
        miou_start=seen,
        miou_start_everything=None if absent else 0.41,
        miou_start_random=None if absent else 0.27,
        j=None if absent else 0.63,
        f=None if absent else 0.74,
        jf=seen,
        phrase_recall=None if absent else 0.85,
        absent_right=value if absent else None,
        missed=None,
        twin_right=value if kind == "motion" else None,
        extra_masks=0,
    )


SEEN = [score("motion", "shapes", 0.75), score("motion", "things", 0.5), score("absent", "shapes", 1.0)]
BLIND = [score("motion", "shapes", 0.12), score("absent", "shapes", 1.0)]


def lines(seen: list[WorldScore], blind: list[WorldScore] | None, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(world("video", summarise(seen, blind, resamples=10)))
    return [line.rstrip() for line in shown.get().splitlines()]


def test_every_kind_and_level_has_its_numbers_beside_baselines_and_control() -> None:
    rows = [line.split() for line in lines(SEEN, BLIND, 120)]
    assert [row[0] for row in rows[3:10]] == ["all", "shapes", "things", "absent", "shapes", "motion", "shapes"]
    assert " ".join(rows[9]) == "shapes 1 0.75 (0.12) 0.41 0.27 0.63 0.74 0.85 (0.85) 0.75 (0.12) 0.75 (0.12)"
    assert " ".join(rows[10]) == "things 1 0.50 0.41 0.27 0.63 0.74 0.85 0.50 0.50"
    assert " ".join(rows[6]) == "absent 1 1.00 (1.00) 1.00 (1.00)"


def test_nothing_is_cut_off_in_80_columns() -> None:
    narrow = " ".join(" ".join(lines(SEEN, BLIND, 80)).split())
    for word in ("union", "random", "recall", "exact", "absent", "twin", "0.85", "(0.12)", "another video"):
        assert word in narrow
    assert "…" not in narrow


def test_failures_are_told_and_a_control_that_was_not_run_is_not() -> None:
    shown = " ".join(lines([*SEEN, score("look", "shapes", 0.0, failed=True)], None, 100))
    assert "1 of 4 questions failed and count as 0" in shown
    assert "another video" not in shown
