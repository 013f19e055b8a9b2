"""The page: its files as they are, the one player of :mod:`vglamm.media`, and the colours of tracks, made from their one list.

No file comes from elsewhere and none is built.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from vglamm.show import templates
from vglamm.show.colours import colour, css, ink

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: everything from this server, and nothing inline."""

PAGE = "index.html"
COLOURS = 49
"""Colours until they are used again."""

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_PLAYER = ("player.css", "player.js")


@dataclass(frozen=True)
class Asset:
    """A file of the page: its media type and what is in it."""

    kind: str
    content: bytes


@cache
def names() -> tuple[str, ...]:
    """Every file of the page."""
    own = (entry.name for entry in resources.files(__name__).iterdir() if entry.name.rpartition(".")[2] in _KINDS)
    return (*sorted(own), *_PLAYER, "palette.js")


@cache
def asset(name: str) -> Asset | None:
    """A file of the page, None if it has none of this name: a name is looked up, never a path."""
    if name not in names():
        return None
    if name == "palette.js":
        content = _palette()
    else:
        content = resources.files(templates if name in _PLAYER else __name__).joinpath(name).read_bytes()
    return Asset(_KINDS[name.rpartition(".")[2]], content)


def _palette() -> bytes:
    """The colour of each track and of text upon it, as a module."""
    colours = [{"rgb": colour(track), "colour": css(colour(track)), "ink": css(ink(colour(track)))} for track in range(COLOURS)]
    return f"export const palette = {json.dumps(colours, separators=(',', ':'))};\n".encode()
