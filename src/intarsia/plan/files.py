"""Plans and outlines on disk.

The text of a plan is read by libraries that take longer to import than a command should take to answer, so they are
imported when a plan is read or written.
"""

import json
from pathlib import Path

from ..errors import CardError, FitError, PlanError
from ..saving import write_text
from .outline import Outline
from .plan import Plan

OUTLINE_FORMAT = "outline/1"


def load_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        PlanError: with every problem of the file, each with its line.
        FileNotFoundError: there is no such file.
    """
    from .text import read_plan

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PlanError(f"{path}:1: not a text file, so not a plan.") from None
    return read_plan(text, str(path))


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan file; refuses to overwrite.

    Raises:
        OutputExists: something stands at `path`.
    """
    from .text import write_plan

    write_text(path, write_plan(plan))


def load_outline(path: Path) -> Outline:
    """Read an outline file.

    Raises:
        CardError: the file is not an outline.
    """
    try:
        content = json.loads(path.read_text())
        if content.pop("intarsia") != OUTLINE_FORMAT:
            raise KeyError
        outline = Outline.from_json(content)
        named = {outline.root, *(path for site in outline.sites for path in (*site.reads, *site.parts))}
        if named - outline.by_path.keys() or not all(type(site.macs) is int for site in outline.sites):
            raise KeyError
        return outline
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CardError(f"{path}: not an outline. 'intarsia outline MODEL -o FILE' writes one.") from None


def save_outline(outline: Outline, path: Path) -> None:
    """Write an outline file; refuses to overwrite.

    Raises:
        OutputExists: something stands at `path`.
    """
    write_text(path, json.dumps({"intarsia": OUTLINE_FORMAT, **outline.to_json()}, indent=1) + "\n")


def relate(error: FitError | PlanError, path: Path) -> FitError | PlanError:
    """The same complaints about rules, with the file's name before each."""
    return type(error)([f"{path}: {problem}" for problem in error.problems])
