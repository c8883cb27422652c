"""docs/plans.md, run from top to bottom on the shipped model."""

import inspect
import re

import pytest

from intarsia import load_plan
from intarsia.lighten.modes import MODES
from intarsia.plan.text import read_plan

from .pages import PAGES, walk

PAGE = PAGES["plans.md"]
(WRITTEN,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(WRITTEN)
    found = walk(
        "plans.md", monkeypatch, lambda line: line.replace("--steps 20 --macs", "--steps 4 --prompt fox --macs")
    )
    assert read_plan(WRITTEN, "plans.md") == found["mine"]
    assert [call.row for call in found["live"].trace] == list(range(20))
    assert load_plan(tmp_path / "bins.yaml").made_by["computed"] == 15
    assert (tmp_path / "out/mine/contact-sheet.png").exists()


def test_the_page_names_every_time_mode_and_its_settings():
    told = {}
    for names, settings in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`\w+`(?:, `\w+`)*) \| .* \|$", PAGE, re.M):
        told |= dict.fromkeys(re.findall(r"\w+", names), re.findall(r"\w+", settings))
    assert told == {name: list(inspect.signature(mode).parameters)[1:] for name, mode in MODES.items()}
