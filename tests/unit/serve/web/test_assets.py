"""The files of the page: all there, nothing inline, nothing from elsewhere, one player and one list of colours."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from serve import web
from serve.errors import told
from vglamm import errors
from vglamm.show import templates
from vglamm.show.colours import colour, css

SCRIPTS = [name for name in web.names() if name.endswith(".js")]


def text(name: str) -> str:
    found = web.asset(name)
    assert found is not None, name
    return found.content.decode()


class Elements(HTMLParser):
    """Elements of the page with their attributes, and what stands inside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(text(web.PAGE))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inside.append(data.strip())


def test_nothing_is_inline() -> None:
    elements = Elements()
    assert not any(elements.inside)
    for tag, attributes in elements.found:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)


def test_everything_that_is_named_is_there() -> None:
    named = [attrs.get("src") or attrs.get("href") or "" for tag, attrs in Elements().found if tag in ("script", "link")]
    wanted = [name.removeprefix("web/") for name in named]
    for script in SCRIPTS:
        wanted += re.findall(r'^import .* from "\./([^"]+)";', text(script), flags=re.MULTILINE)
    for sheet in ("style.css", "talk.css"):
        wanted += re.findall(r'url\("([^"]+)"\)', text(sheet))
    assert len(wanted) > 20
    assert [name for name in wanted if web.asset(name) is None] == []


@pytest.mark.parametrize("name", [name for name in web.names() if not name.endswith("woff2")])
def test_nothing_comes_from_elsewhere(name: str) -> None:
    addresses = re.findall(r"(?:https?:)?//[a-z][^\s\"')]*\.[^\s\"')]*", re.sub(r"/\*.*?\*/", "", text(name), flags=re.DOTALL))
    assert [address for address in addresses if "www.w3.org" not in address] == []


def test_the_policy_allows_neither_inline_nor_elsewhere() -> None:
    policy = dict(part.strip().split(" ", 1) for part in web.POLICY.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in web.POLICY


def test_ids_that_scripts_look_for_are_on_the_page() -> None:
    there = {attributes["id"] for _, attributes in Elements().found if "id" in attributes}
    sought = {name for script in SCRIPTS for name in re.findall(r'byId\("([^"]+)"\)', text(script))}
    assert len(sought) > 15
    assert sought <= there


def test_an_error_in_a_stream_has_the_status_that_its_code_has_elsewhere() -> None:
    """Whether the page offers another try goes by the status; one it does not know counts as the server's own fault."""
    table = re.search(r"const LATE = \{(.*?)\};", text("api.js"), re.DOTALL)
    assert table is not None
    known = {code: int(status) for code, status in re.findall(r"(\w+): (\d+)", table[1])}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.VglammError)]
    said = [told(kind("a", "b", "c")) for kind in kinds]
    assert known == {one.code: one.status for one in said if one.status != 500}


def test_one_player_and_one_list_of_colours() -> None:
    assert text("player.js") == templates.text("player.js")
    module = text("palette.js")
    palette = json.loads(module[module.index("[") : module.rindex("]") + 1])
    assert [entry["colour"] for entry in palette] == [css(colour(track)) for track in range(web.COLOURS)]


@pytest.mark.parametrize("name", ["", "../__init__.py", "__init__.py", "OFL.txt", "web/app.js", "app.js/", "no.js"])
def test_only_its_own_files_are_given(name: str) -> None:
    assert web.asset(name) is None
