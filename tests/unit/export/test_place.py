"""Names that are safe and never collide; targets that are whole or not there."""

from __future__ import annotations

import string
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vglamm.errors import ConfigError
from vglamm.export.place import LONGEST, MARK, fresh, mark, new_file, new_folder, safe_name

ALLOWED = set(string.ascii_letters + string.digits + "_-~.%")


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("a", "a"),
        ("a#2", "a%232"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        (".hidden", "%2Ehidden"),
        ("v1.5", "v1.5"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("C:\\x", "C%3A%5Cx"),
        ("", "%"),
        ("a\0b", "a%00b"),
    ],
)
def test_names_are_one_plain_part_of_a_path(identity: str, name: str) -> None:
    assert safe_name(identity) == name


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_ids_have_different_names(one: str, other: str) -> None:
    name = safe_name(one)
    assert set(name) <= ALLOWED
    assert name not in (".", "..", "")
    assert len(name) <= LONGEST
    assert (name == safe_name(other)) == (one == other)
    if "%-" not in name and name != "%":
        assert unquote(name) == one


def test_long_ids_that_begin_alike_do_not_collide() -> None:
    assert safe_name("x" * 500 + "a") != safe_name("x" * 500 + "b")
    assert len(safe_name("ü" * 500)) == LONGEST


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.json"
    with new_file(target, overwrite=False) as part:
        part.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    with pytest.raises(ConfigError, match="exists"), new_file(target, overwrite=False):
        pass
    with pytest.raises(ZeroDivisionError), new_file(target, overwrite=True) as part:
        part.write_text(str(1 / (part.write_text("half") - 4)))
    assert target.read_text() == "1"
    with new_file(target, overwrite=True) as part:
        part.write_text("2")
    assert [path.read_text() for path in target.parent.iterdir()] == ["2"]


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()  # an empty one is as good as none
    with new_folder(target, overwrite=False) as part:
        (part / "a").write_text("1")
        mark(part, {})
    with pytest.raises(ConfigError, match="not empty"), new_folder(target, overwrite=False):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(target, overwrite=True) as part:
        raise ZeroDivisionError
    assert (target / "a").read_text() == "1"
    with new_folder(target, overwrite=True) as part:
        mark(part, {})
    assert [path.name for path in target.iterdir()] == [MARK]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_an_export_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="no export wrote"), new_folder(tmp_path / "thesis", overwrite=True):
        pass
    with pytest.raises(ConfigError, match="the folder"), new_file(tmp_path / "thesis", overwrite=True):
        pass
    with pytest.raises(ConfigError, match="the file"), new_folder(tmp_path / "thesis" / "chapter1.tex", overwrite=True):
        pass
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_a_name_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ConfigError, match="both named a"):
        fresh(tmp_path / "a")
