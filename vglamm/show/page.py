"""One HTML page with everything in it: the video, the answers, and masks that light up when a phrase is pointed at.

The page holds the plain grounding frames as H.264 and the masks as RLE at the size of that video; its script draws the masks.
It asks the network for nothing (its Content-Security-Policy forbids it), so it can be mailed, archived and opened offline.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vglamm.errors import DialogueError
from vglamm.show import overlay, player, templates

if TYPE_CHECKING:
    from vglamm.answer import Answer


def write_page(path: Path, entries: Sequence[tuple[Answer, overlay.Video | None]]) -> None:
    """Write one self-contained HTML page with the answers in order; questions about the same frames share one video.

    entries: answers, each with the video that its frames come from, or None for ``answer.source``. Raises DialogueError for no
    answers, VideoError if frames cannot be had. The file appears under its name only when it is whole.
    """
    if not entries:
        raise DialogueError("a page without answers", "at least one", "ask a question first")
    media: dict[tuple[Any, ...], int] = {}
    packed: list[dict[str, str]] = []
    for answer, video in entries:
        if _media_key(answer, video) not in media:
            media[_media_key(answer, video)] = len(packed)
            kind, content = player.pack(answer, video)
            packed.append({"type": kind, "base64": base64.b64encode(content).decode("ascii")})
    answers = [answer for answer, _ in entries]
    filling = {
        "title": escape(player.title(answers)),
        "subtitle": escape("One question" if len(answers) == 1 else f"{len(answers)} questions"),
        "entries": "\n".join(player.article(answer, number) for number, answer in enumerate(answers)),
        "data": _script_json(
            {"media": packed, "entries": [player.entry(a) | {"media": media[_media_key(a, v)]} for a, v in entries]}
        ),
        "style": templates.text("player.css"),
        "player": templates.text("player.js"),
    }
    page = templates.fill(templates.text("page.html"), filling)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _media_key(answer: Answer, video: overlay.Video | None) -> tuple[Any, ...]:
    """Equal for answers that show the same frames."""
    return (answer.source if video is None else id(video), answer.sampling.grounding_indices, answer.sampling.size)


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
