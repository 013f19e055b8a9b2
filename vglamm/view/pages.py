"""The HTML of the viewer: the list and a row. Every text of a run goes through ``escape``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

from vglamm.annotation import FAILED, OK, SKIPPED, Annotation
from vglamm.errors import VglammError
from vglamm.records import Phrase
from vglamm.show import legend, player, templates
from vglamm.view.listing import PAGE, Page, Place, Selection

WORDS = {"": "All", OK: "Answered", FAILED: "Failed", SKIPPED: "Skipped"}
LONGEST = 280
"""Characters of an answer, or of a reason, in the list."""

LIST_KEYS = (
    "<kbd>j</kbd> <kbd>k</kbd> go down and up, <kbd>Enter</kbd> opens a row, <kbd>n</kbd> <kbd>p</kbd> turn the page, "
    "<kbd>/</kbd> goes to the search."
)
ROW_KEYS = (
    "<kbd>j</kbd> <kbd>k</kbd> or the arrow keys go to the next and the previous row, <kbd>Space</kbd> plays, <kbd>Esc</kbd> goes "
    "back to the list. Press a coloured phrase to keep its mask lit."
)


@dataclass(frozen=True)
class _Words:
    """The text of a row in the list, cut to its length."""

    text: str
    phrases: tuple[Phrase, ...]


def link(path: str, selection: Selection, **more: object) -> str:
    """An address of this site, escaped for an attribute. What is empty is left out."""
    fields = {"status": selection.status, "q": selection.query, **more}
    query = urlencode({name: value for name, value in fields.items() if value not in ("", 0, None)})
    return escape(f"{path}?{query}" if query else path)


def list_page(run: str, where: str, figures: Sequence[tuple[str, str]], selection: Selection, page: Page) -> str:
    """The list: figures of the run, search, states, rows, and the way to other pages."""
    tiles = "".join(f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(value)}</dd></div>" for name, value in figures)
    summary = f'<details class="summary" open><summary>Summary of the run</summary><dl>{tiles}</dl></details>' if tiles else ""
    states = "".join(_state(name, selection, page.counts[name]) for name in WORDS)
    first = page.number * PAGE
    rows = "".join(_line(row, first + number, selection) for number, row in enumerate(page.rows))
    body = (
        f'<header><h1>{escape(run)}</h1><p class="where">{escape(where)}</p></header><main>{summary}{_search(selection)}'
        f'<div class="above"><nav id="states" aria-label="Status">{states}</nav>'
        f'<p id="told" role="status">{_told(selection, page)}</p></div>'
        f'<ol id="rows" start="{first + 1}">{rows}</ol><nav id="pages" aria-label="Pages">{_pager(selection, page)}</nav></main>'
    )
    return _whole(run, body, LIST_KEYS)


def _search(selection: Selection) -> str:
    status = f'<input type="hidden" name="status" value="{escape(selection.status)}">' if selection.status else ""
    return (
        f'<form role="search" action="/" method="get">{status}<input type="search" name="q" value="{escape(selection.query)}" '
        f'maxlength="200" aria-label="Search ids, questions, answers and errors" placeholder="Search ids, answers, errors" '
        f'autocomplete="off" spellcheck="false">'
        f'<button type="submit">Search</button></form>'
    )


def _told(selection: Selection, page: Page) -> str:
    if not page.rows:
        return "No row holds all of these words." if selection.query else "No rows."
    first = page.number * PAGE + 1
    return f"{first:,} to {first + len(page.rows) - 1:,} of {page.total:,}"


def row_page(run: str, row: Annotation, selection: Selection, place: Place) -> str:
    """One row: its answer in the player, or why there is none, and what else the row holds."""
    back = link("/", selection) if place.at is None else link("/", selection, page=place.at // PAGE) + f"#at-{place.at}"
    told = "" if place.at is None else f'<span class="place">{place.at + 1:,} of {place.total:,}</span>'
    answered = row.answer is not None
    main = player.article(row.answer, 0) if row.answer is not None else _reason(row)
    state = f' data-row="{escape(row.id)}"' if answered else ""
    body = (
        f'<header><nav class="bar" aria-label="Rows"><a id="up" href="{back}">List</a>{told}<span class="steps">'
        f"{_step('previous', 'Previous', place.previous, selection)}{_step('next', 'Next', place.next, selection)}</span></nav>"
        f'<h1>{escape(row.id)} <span class="state {row.status}">{WORDS[row.status]}</span></h1></header>'
        f'<main{state}><div class="note" id="trouble" role="status" hidden></div>{main}{_facts(row)}</main>'
    )
    return _whole(f"{row.id} - {run}", body, ROW_KEYS)


def error_page(error: VglammError) -> str:
    """An error in its three parts."""
    body = f"<header><h1>{escape(type(error).__name__)}</h1></header><main>{_parts(error.got, error.expected, error.fix)}</main>"
    return _whole("vglamm view", body, "")


def _whole(title: str, body: str, keys: str) -> str:
    filling = {"title": escape(title), "body": body, "keys": keys}
    return templates.fill(templates.text("view.html", "vglamm.view.templates"), filling)


def _state(name: str, selection: Selection, count: int) -> str:
    here = ' aria-current="true"' if name == selection.status else ""
    there = link("/", Selection(name, selection.query))
    return f'<a href="{there}" class="{name or "all"}"{here}>{WORDS[name]} <b>{count:,}</b></a>'


def _line(row: Mapping[str, Any], at: int, selection: Selection) -> str:
    """A row in the list, number ``at`` of its selection; the whole of it is one link."""
    if row["status"] == OK:
        said = "".join(_marked(text, track) for text, track in legend.text_runs(_cut(row["text"] or "", row["phrases"] or ())))
    else:
        reason = row["error"] or ""
        short = reason if len(reason) <= LONGEST else reason[: LONGEST - 1] + "…"
        said = f"<b>{escape(row['error_type'] or '')}</b> {escape(short)}"
    state = f'<span class="state {escape(row["status"])}">{escape(WORDS.get(row["status"], row["status"]))}</span>'
    return (
        f'<li id="at-{at}"><a href="{link("/row", selection, id=row["id"])}"><span class="id">{escape(row["id"])}</span>{state}'
        f'<span class="question">{escape(row["question"] or "")}</span><span class="said">{said}</span></a></li>'
    )


def _marked(text: str, track: int | None) -> str:
    return escape(text) if track is None else f'<span class="mark" {player.style(track)}>{escape(text)}</span>'


def _cut(text: str, phrases: Iterable[Mapping[str, Any]]) -> _Words:
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    inside = tuple(Phrase(**phrase) for phrase in phrases if phrase["end"] is not None and phrase["end"] < len(short))
    return _Words(short, inside if len(text) > LONGEST else tuple(Phrase(**phrase) for phrase in phrases))


def _pager(selection: Selection, page: Page) -> str:
    if page.pages == 1:
        return ""
    before = link("/", selection, page=page.number - 1) if page.number else None
    after = link("/", selection, page=page.number + 1) if page.number + 1 < page.pages else None
    told = f'<span class="place">Page {page.number + 1:,} of {page.pages:,}</span>'
    return (
        f'<nav class="pager" aria-label="Pages">{_turn("previous", "Previous", before)}{told}{_turn("next", "Next", after)}</nav>'
    )


def _step(name: str, word: str, row: str | None, selection: Selection) -> str:
    return _turn(name, word, None if row is None else link("/row", selection, id=row))


def _turn(name: str, word: str, there: str | None) -> str:
    """A link, or where there is none the word alone, so that nothing moves under the pointer."""
    if there is None:
        return f'<span class="step" aria-disabled="true">{word}</span>'
    return f'<a class="step" id="{name}" href="{there}">{word}</a>'


def _reason(row: Annotation) -> str:
    """Why a row has no answer: an error of ours in its three parts, another one as it came."""
    error = row.error or ""
    found = re.fullmatch(r"got (.*?); expected (.*?); (.*)", error, flags=re.DOTALL)
    told = _parts(*found.groups()) if found else f'<p class="text">{escape(error)}</p>'
    return f'<article class="reason"><h2>{escape(row.question)}</h2><h3>{escape(row.error_type or "")}</h3>{told}</article>'


def _parts(got: str, expected: str, fix: str) -> str:
    rows = "".join(
        f"<dt>{word}</dt><dd>{escape(part)}</dd>" for word, part in (("Got", got), ("Expected", expected), ("What to do", fix))
    )
    return f'<dl class="parts">{rows}</dl>'


def _facts(row: Annotation) -> str:
    own = {"Position": row.position, "Video": row.video, "Read from": row.uri, "SHA-256": row.sha256, "Config": row.config}
    told = {name: str(value)[:500] for name, value in {**own, **row.extra}.items() if value is not None}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in told.items())
    return f'<details class="facts"><summary>More of this row</summary><dl>{rows}</dl></details>'
