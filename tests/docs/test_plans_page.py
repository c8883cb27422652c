"""docs/plans.md, run from top to bottom on the shipped model."""

import inspect
import re

from intarsia import load_plan
from intarsia.lighten.modes import MODES
from intarsia.plan.text import read_plan

from .pages import PAGES, walk

PAGE = PAGES["plans.md"]
(WRITTEN,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def changed(line):
    """The README's walk searches already."""
    return None if "plan search" in line else line.replace("intarsia run", "intarsia run --rounds 1")


def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(WRITTEN)
    found = walk("plans.md", monkeypatch, changed)
    assert read_plan(WRITTEN, "plans.md") == found["mine"]
    assert [call.row for call in found["live"].trace] == list(range(10))
    assert load_plan(tmp_path / "bins.yaml").made_by["computed"] == 7
    assert (tmp_path / "out/mine/contact-sheet.png").exists()


def test_the_page_names_every_time_mode_and_its_settings():
    told = {}
    for names, settings in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`\w+`(?:, `\w+`)*) \| .* \|$", PAGE, re.M):
        told |= dict.fromkeys(re.findall(r"\w+", names), re.findall(r"\w+", settings))
    assert told == {name: list(inspect.signature(mode).parameters)[1:] for name, mode in MODES.items()}
