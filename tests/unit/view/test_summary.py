"""The summary of a run, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import fs

from vglamm.view.summary import MOST, figures


def read(folder: Path, text: str | None) -> list[tuple[str, str]]:
    if text is not None:
        (folder / "summary.json").write_text(text, encoding="utf-8")
    return figures(fs.LocalFileSystem(), str(folder / "part-00000.parquet"))


def test_numbers_are_short_and_nested_names_are_joined(tmp_path: Path) -> None:
    told = {
        "rows": 1234567,
        "rate": 0.123456,
        "long": 1234.56,
        "ok": True,
        "none": None,
        "at": {"a": {"b": 2}},
        "list": [1, 2.5, "c"],
    }
    assert read(tmp_path, json.dumps(told)) == [
        ("rows", "1,234,567"),
        ("rate", "0.1235"),
        ("long", "1,234.6"),
        ("ok", "yes"),
        ("at, a, b", "2"),
        ("list", "1, 2.5, c"),
    ]


def test_no_summary(tmp_path: Path) -> None:
    assert read(tmp_path, None) == []


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", "[" * 5000, '{"a": "' + "x" * (1 << 20) + '"}'])
def test_a_summary_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    ((name, said),) = read(tmp_path, text)
    assert name == "summary.json"
    assert said.startswith(("cannot be read", "is not"))


def test_a_long_summary_is_cut(tmp_path: Path) -> None:
    assert len(read(tmp_path, json.dumps({str(n): n for n in range(500)}))) == MOST
