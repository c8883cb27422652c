"""Every page: its commands are ones that there are, and its links lead somewhere."""

import re
import shlex

import pytest
from typer.main import get_command

from intarsia.cli import main as command

from .pages import PAGES, ROOT, commands_of

COMMANDS = sorted({line for text in PAGES.values() for line in commands_of(text)})


@pytest.mark.parametrize("line", COMMANDS, ids=str)
def test_commands_are_ones_that_there_are(line):
    """Those that no walk runs are read at least: a verb or an option that is gone raises here."""
    found, words = get_command(command.app), shlex.split(line)[1:]
    while hasattr(found, "commands") and words != ["--help"]:
        found = found.commands[words.pop(0)]
    if words != ["--help"]:
        found.make_context(found.name, words)


def anchors_of(text):
    """What headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        path, _, anchor = link.partition("#")
        assert (folder / path).exists(), link
        assert not anchor or anchor in anchors_of((folder / path).read_text()), link


def test_the_readme_names_every_page():
    assert not [name for name in PAGES if name != "README.md" and f"docs/{name}" not in PAGES["README.md"]]
