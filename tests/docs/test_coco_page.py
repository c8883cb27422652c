"""docs/coco.md, run from top to bottom."""

import re
import shlex
from pathlib import Path

import torch

from intarsia import factory
from tests.factory.conftest import call

PAGE = (Path(__file__).parents[2] / "docs/coco.md").read_text()
STEP = re.compile(r"^```python\n(?P<python>.*?)^```|^    intarsia (?P<command>[^\n]*?)(?: +#[^\n]*)?$", re.M | re.S)


def test_from_a_folder_to_a_detector_by_the_pages_steps(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found, ran = {}, 0
    for step in STEP.finditer(PAGE):
        if step["python"]:
            with torch.enable_grad():
                exec(compile(step["python"], "coco.md", "exec"), found)
        else:
            code, out, refusal = call(*shlex.split(step["command"]))
            assert code == 0, (step["command"], out, refusal)
            ran += 1
    assert ran == 3
    assert set(found["space"].names) == {"square", "bar", "red", "blue"}
    assert factory.rebuild(tmp_path / "out/red-square").answers == ("square", "red")
    assert found["seen"].boxes.shape[1] == 4
    assert {"found.png", "frontier"} <= {path.name for path in (tmp_path / "out").iterdir()}
    (annotation,) = re.findall(r"`(annotations 7: its box is empty)`", PAGE)
    content = found["content"]
    content["annotations"][7]["bbox"][2] = 0
    (tmp_path / "things/annotations.json").write_text(found["json"].dumps(content))
    assert annotation in call("frontier", "things-kit", "--task", "bar", "--pictures", "things", "-o", "out/no")[2]
