"""What each address of the viewer answers. Rows are found by their id in the run; no part of an address is ever a path on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from vglamm.annotation import SUFFIX, Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError, VglammError, VideoError
from vglamm.show import player, templates
from vglamm.view import clips, pages
from vglamm.view.listing import Listing, Selection
from vglamm.view.summary import figures

HTML, JSON = "text/html; charset=utf-8", "application/json"
VIEW = "vglamm.view.templates"
FILES = {
    "/player.css": ("text/css; charset=utf-8", templates.__name__),
    "/player.js": ("text/javascript; charset=utf-8", templates.__name__),
    "/view.css": ("text/css; charset=utf-8", VIEW),
    "/view.js": ("text/javascript; charset=utf-8", VIEW),
}
"""Files of the package that are given as they are: address -> (media type, package)."""

MADE = ("/masks", "/video", "/black")
"""What the script of a row asks for."""

LONGEST_QUERY = 200
CLIPS, MASKS = 128 << 20, 64 << 20
"""Bytes of cut videos, and of masks, that are kept."""


@dataclass(frozen=True)
class Response:
    """Status, media type and content of an answer."""

    status: int
    kind: str
    body: bytes


class Site:
    """The viewer of one run. url: its folder. videos: a folder to look for videos in first. ConfigError if there is no run."""

    def __init__(self, url: str, videos: Path | None = None) -> None:
        if videos is not None and not videos.is_dir():
            raise ConfigError(f"--videos {videos}, which is not a folder", "the folder of the videos", "check the path")
        self.listing, self.videos = Listing(url), videos
        self.name = url.rstrip("/").rpartition("/")[2] or url
        self.where = url
        self.clips, self.masks = clips.Shelf(CLIPS), clips.Shelf(MASKS)

    def respond(self, path: str, query: str, wanted: Callable[[], bool] = lambda: True) -> Response | None:
        """Answer one request. wanted: whether somebody still waits for it; None if nobody does."""
        if path in FILES:
            kind, package = FILES[path]
            return Response(200, kind, templates.text(path.removeprefix("/"), package).encode())
        if path not in ("/", "/row", *MADE):
            return _absent("no such page", "/, the list")
        try:
            fields, selection, number = _asked(query)
        except ConfigError as error:
            return _page(400, error)
        try:
            if path == "/":
                return self._list(selection, number)
            row = self.listing.row(fields.get("id", ""))
            if path == "/row":
                return self._row(row, selection)
            return self._made(path, row, wanted)
        except VglammError as error:
            return _json(500, error) if path in MADE else _page(500, error)

    def _list(self, selection: Selection, number: int) -> Response:
        page = self.listing.page(selection, number)
        told = [] if self.where.endswith(SUFFIX) else figures(self.listing.system, self.listing.files[0])
        return Response(200, HTML, pages.list_page(self.name, self.where, told, selection, page).encode())

    def _row(self, row: Annotation | None, selection: Selection) -> Response:
        place = None if row is None else self.listing.place(row.id, selection)
        if row is None or place is None:
            return _absent("no such row", "the id of a row of this run")
        return Response(200, HTML, pages.row_page(self.name, row, selection, place).encode())

    def _made(self, path: str, row: Annotation | None, wanted: Callable[[], bool]) -> Response | None:
        """Masks as JSON, the video, or black in its place: made when first asked for."""
        if row is None or row.answer is None:
            return _json(404, ConfigError("no such answer", "the id of an answered row", "go back to the list"))
        key = (self.listing.version, path, row.id)
        shelf = self.masks if path == "/masks" else self.clips
        try:
            found = shelf.get(key, _maker(path, row, row.answer, self.videos), wanted)
        except VideoError as error:
            return _json(404, error)
        return None if found is None else Response(200, *found)


def _maker(path: str, row: Annotation, answer: Answer, videos: Path | None) -> Callable[[], clips.Content]:
    match path:
        case "/masks":
            return lambda: (JSON, json.dumps(player.entry(answer), separators=(",", ":"), allow_nan=False).encode())
        case "/video":
            return lambda: clips.cut(row, answer, videos)
        case _:
            return lambda: clips.black(answer)


def _asked(query: str) -> tuple[dict[str, str], Selection, int]:
    """The fields of an address, and of them the selection and the page. ConfigError for what no link of ours holds."""
    try:
        fields = dict(parse_qsl(query, max_num_fields=8))
    except ValueError as error:
        raise ConfigError("too many fields", "an address of this page", "go back to the list") from error
    words, number = " ".join(fields.get("q", "").split()), fields.get("page", "0")
    if len(words) > LONGEST_QUERY:
        raise ConfigError(f"a search of {len(words)} characters", f"at most {LONGEST_QUERY}", "search for less")
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise ConfigError(f"page {number!r}"[:80], "a number from 0", "go back to the list")
    return fields, Selection(fields.get("status", ""), words), int(number)


def _absent(got: str, expected: str) -> Response:
    return _page(404, ConfigError(got, expected, "go back to the list"))


def _page(status: int, error: VglammError) -> Response:
    return Response(status, HTML, pages.error_page(error).encode())


def _json(status: int, error: VglammError) -> Response:
    parts = {"error": type(error).__name__, "got": error.got, "expected": error.expected, "fix": error.fix}
    return Response(status, JSON, json.dumps(parts).encode())
