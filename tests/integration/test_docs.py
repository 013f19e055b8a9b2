"""What the documentation shows: every command line parses, every make target is there, and the Python of the README runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import vglamm
from tests import fakes
from vglamm import cli
from vglamm.media.mp4 import write_mp4
from vglamm.walk import Walk

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "vglamm" / "weights").rglob("README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ENDS = re.compile(r"\s+#\s.*|\s+(&&|\|\|?|;|>)\s.*|;\s.*")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def shown(page: Path) -> list[str]:
    """Commands of this project in the page's blocks and between its backticks: `vglamm` with words, and `make`."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line.strip() for block in blocks(page, "", "bash", "sh", "console") for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [" ".join(quoted.split()) for quoted in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    return [
        line.removeprefix("$ ").removeprefix(".venv/bin/")
        for line in lines
        if re.match(r"(\$ )?(\.venv/bin/)?(vglamm|make) ", line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_one(page: Path) -> None:
    group = typer.main.get_command(cli.app)
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets = {word for line in targets for word in line.split()}
    wrong = []
    for line in shown(page):
        program, *words = shlex.split(ENDS.sub("", line))
        if program == "make":
            wrong += [line for word in words if not word.startswith("-") and "=" not in word and word not in targets]
        elif words[0] not in ("--help", "--version") and words[0] not in group.commands:
            wrong.append(line)
        elif words[0] in group.commands:
            command = group.commands[words[0]]
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "--debug"}
            wrong += [line for word in words if word.startswith("--") and word.partition("=")[0] not in known]
            if page.name == "README.md" and page.parent == ROOT and len(words) > 1:  # elsewhere words stand for others
                command.make_context(words[0], words[1:])  # raises for a value that is none
    assert wrong == []


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a model that was taught to find something in whatever it is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vglamm, "load", lambda source: Walk.of(fakes.talker(), fakes.tokenizer()), raising=False)
    write_mp4(Path("clip.mp4"), ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    [code] = blocks(ROOT / "README.md", "python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert Path("dog.mp4").stat().st_size > 0
    assert len(names["talk"].history) == 2  # type: ignore[attr-defined]
