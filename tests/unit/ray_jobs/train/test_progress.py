from __future__ import annotations

import io

from rich.console import Console

from ray_jobs.train.progress import INTERVAL, Display
from tests.unit.ray_jobs.test_tracking import report


def shown(*, terminal: bool, interval: float) -> str:
    out = io.StringIO()
    display = Display("lines", Console(file=out, force_terminal=terminal, width=200), interval)
    for step in (2, 4, 6):
        display.take([report(step)])
    display.take([report(10, validation={"iou": 0.5})])
    display.close()
    return out.getvalue()


def test_away_from_a_terminal_lines_are_rare() -> None:
    lines = shown(terminal=False, interval=1e9).splitlines()
    assert [line.split()[2] for line in lines] == ["2/10", "10", "10/10"]
    assert "loss 2" in lines[0]
    assert "8.0 samples/s, 25% waiting" in lines[0]
    assert lines[1] == "lines step 10 validation: iou 0.5"


def test_each_report_is_a_line_when_the_interval_has_passed() -> None:
    assert len(shown(terminal=False, interval=0).splitlines()) == 5


def test_a_report_that_ends_a_silence_is_not_passed_over() -> None:
    """Reports come within ``INTERVAL``, seen a little early or late: such a one is always a line."""
    assert Display("lines", Console(file=io.StringIO())).interval <= INTERVAL / 2


def test_a_terminal_shows_a_bar() -> None:
    text = shown(terminal=True, interval=1e9)
    assert "10/10" in text
    assert "\x1b[" in text
