"""Pages for people, as tests read and run them: snippets of Python, and commands in lines that are set in."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from intarsia.cli import main as command

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README = PAGES["README.md"]
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README, re.S))
STEP = re.compile(
    r"^```python\n(?P<python>.*?)^```|^<!-- example of the README: (?P<example>\w+) -->$"
    r"|^    (?P<command>intarsia [^\n]*?)(?: +#[^\n]*)?$",
    re.M | re.S,
)


def commands_of(text: str) -> list[str]:
    """The commands that a text shows, without what is remarked behind them."""
    return [step["command"] for step in STEP.finditer(text) if step["command"]]


def run(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    try:
        command.main()
    except SystemExit as stop:
        assert not stop.code, words


def walk(page: str, monkeypatch, changed: Callable[[str], str | None] = str) -> dict[str, Any]:
    """Run a page from top to bottom, as a reader would, and answer what its snippets have named.

    Args:
        changed: Makes a command shorter; None passes it over.
    """
    found: dict[str, Any] = {}
    with torch.enable_grad():  # as it is where no test has switched it off
        for step in STEP.finditer(PAGES[page]):
            if python := step["python"] or EXAMPLES.get(step["example"]):
                exec(compile(python, page, "exec"), found)
            elif (line := changed(step["command"])) is not None:
                run(shlex.split(line), monkeypatch)
    return found
