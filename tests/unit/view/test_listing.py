"""Rows are filtered, searched and paged from their text columns; masks are read for one row only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.unit.view.runs import answered, mixed, unanswered, write_run
from vglamm.errors import ConfigError
from vglamm.view.listing import PAGE, SEARCHED, SHOWN, Listing, Place, Selection

COUNT = 330


@pytest.fixture(scope="module")
def rows() -> list:
    return mixed(COUNT)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, rows: list) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), rows, parts=3, group=32)


@pytest.fixture(scope="module")
def listing(run: Path) -> Listing:
    return Listing(run)


def everything(listing: Listing, selection: Selection) -> Iterator[str]:
    for number in range(listing.page(selection).pages):
        yield from (row["id"] for row in listing.page(selection, number).rows)


def test_pages_together_are_the_run_in_its_order(listing: Listing, rows: list) -> None:
    assert list(everything(listing, Selection())) == [row.id for row in rows]
    page = listing.page(Selection(), 2)
    assert (page.number, page.pages, page.total, len(page.rows)) == (2, 7, COUNT, PAGE)
    assert set(page.rows[0]) == set(SHOWN)


@pytest.mark.parametrize("status", ["ok", "failed", "skipped"])
def test_a_status_selects_its_rows(listing: Listing, rows: list, status: str) -> None:
    wanted = [row.id for row in rows if row.status == status]
    assert wanted
    assert list(everything(listing, Selection(status))) == wanted
    assert listing.page(Selection()).counts[status] == len(wanted)


@pytest.mark.parametrize(
    "query",
    ["v00017", "HAPPENS", "red ball", '"red ball"', "number 17", "videounreadable", "empty copy", "seconds", "rolls happens"],
)
def test_words_are_found_anywhere_and_in_any_case(listing: Listing, rows: list, query: str) -> None:
    words = Selection(query=query).words

    def holds(row: object) -> bool:
        texts = [row.id, row.question, row.error_type, row.error, row.answer and row.answer.text]  # type: ignore[attr-defined]
        return all(any(word.lower() in (text or "").lower() for text in texts) for word in words)

    wanted = [row.id for row in rows if holds(row)]
    assert wanted
    assert list(everything(listing, Selection(query=query))) == wanted
    failed = [row.id for row in rows if holds(row) and row.status == "failed"]
    assert list(everything(listing, Selection("failed", query))) == failed
    assert listing.page(Selection("failed", query)).counts == {
        "": len(wanted),
        "failed": len(failed),
        **{name: sum(row.status == name and holds(row) for row in rows) for name in ("ok", "skipped")},
    }


def test_quotes_keep_words_together(listing: Listing) -> None:
    assert Selection(query='a "b c" d').words == ("a", "b c", "d")
    assert Selection(query='open " quote').words == ("open", "quote")
    assert listing.page(Selection(query='"ball red"')).total == 0
    assert listing.page(Selection(query="ball red")).total > 0


@pytest.mark.parametrize("query", [".*", "(", "%", "\\", "ball|box"])
def test_words_are_no_patterns(listing: Listing, query: str) -> None:
    assert listing.page(Selection(query=query)).total == 0


def test_words_of_any_script(tmp_path: Path) -> None:
    rows = [answered(0, "<p> Über die Straße </p> [SEG] ."), answered(1, "<p> 赤い ボール </p> [SEG] ."), answered(2)]
    listing = Listing(write_run(tmp_path, rows))
    assert list(everything(listing, Selection(query="über"))) == ["v00000"]
    assert list(everything(listing, Selection(query="ボール"))) == ["v00001"]


def test_every_phrase_is_found_though_phrases_are_not_read(listing: Listing, rows: list) -> None:
    assert "phrases" not in SEARCHED
    phrases = {phrase.text for row in rows if row.answer for phrase in row.answer.phrases}
    for phrase in phrases:
        assert listing.page(Selection(query=f'"{phrase}"')).total == sum(row.answer is not None for row in rows)


def test_a_page_too_far_is_the_last(listing: Listing) -> None:
    page = listing.page(Selection(), 999)
    assert (page.number, len(page.rows)) == (6, COUNT % PAGE)
    nothing = listing.page(Selection(query="nosuchword"), 3)
    assert (nothing.rows, nothing.total, nothing.number, nothing.pages) == ([], 0, 0, 1)


def test_a_row_comes_whole(listing: Listing, rows: list) -> None:
    for number in (0, 31, 32, 109, 110, 200, COUNT - 1, 3, 7):
        assert listing.row(rows[number].id) == rows[number]
    assert listing.row("nosuch") is None
    assert listing.row("") is None


def test_places_of_rows_in_a_selection(listing: Listing, rows: list) -> None:
    failed = [row.id for row in rows if row.status == "failed"]
    assert listing.place(failed[0], Selection("failed")) == Place(0, len(failed), None, failed[1])
    assert listing.place(failed[-1], Selection("failed")) == Place(len(failed) - 1, len(failed), failed[-2], None)
    assert listing.place("v00004", Selection("failed")) == Place(None, len(failed), "v00003", "v00013")
    assert listing.place("v00000", Selection(query="v00000")) == Place(0, 1, None, None)
    assert listing.place("v00000", Selection(query="nosuchword")) == Place(None, 0, None, None)
    assert listing.place("nosuch", Selection()) is None


def test_masks_are_not_read_for_the_list(tmp_path: Path) -> None:
    """The bytes of the masks are destroyed: the list and the search do not notice, the row does."""
    file = write_run(tmp_path, mixed(40)) / "part-00000.parquet"
    group = parquet.ParquetFile(file).metadata.row_group(0)
    content = bytearray(file.read_bytes())
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.startswith("tracks."):
            start = min(o for o in (column.dictionary_page_offset, column.data_page_offset) if o)
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(content)
    listing = Listing(tmp_path)
    assert len(listing.page(Selection(query="ball")).rows) > 0
    assert listing.place("v00001", Selection()) is not None
    with pytest.raises(ConfigError, match="cannot be read"):
        listing.row("v00001")


def test_parts_that_come_later_are_seen(tmp_path: Path) -> None:
    listing = Listing(write_run(tmp_path, [answered(0)]))
    assert listing.page(Selection(query="number")).total == 1
    version = listing.version
    write_run(tmp_path, [answered(0), unanswered(1), answered(2)], parts=3)
    assert listing.page(Selection(query="number")).total == 2
    assert listing.version > version
    assert listing.row("v00002") == answered(2)


def test_a_row_that_changed_is_not_remembered(tmp_path: Path) -> None:
    listing = Listing(write_run(tmp_path, [answered(0)]))
    assert listing.row("v00000") == answered(0)
    changed = replace(answered(0, "<p> a cat </p> [SEG] ."), extra={})
    file = write_run(tmp_path, [changed]) / "part-00000.parquet"
    os.utime(file, ns=(1, 1))  # a clock that is too coarse to tell would hide the change
    listing.page(Selection())
    assert listing.row("v00000") == changed


def test_a_run_without_rows(tmp_path: Path) -> None:
    listing = Listing(write_run(tmp_path, []))
    assert listing.page(Selection(query="a")).counts == {"": 0, "ok": 0, "failed": 0, "skipped": 0}
    assert listing.row("a") is None


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_a_broken_part_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        Listing(tmp_path)


def test_another_table_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "part-00000.parquet")
    with pytest.raises(ConfigError, match="without position"):
        Listing(tmp_path)


def test_a_status_that_is_none(listing: Listing) -> None:
    with pytest.raises(ConfigError, match="one of ok, failed, skipped"):
        Selection("done")
