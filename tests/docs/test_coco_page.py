"""docs/coco.md, run from top to bottom."""

import json

from intarsia import factory
from tests.factory.conftest import call

from .pages import PAGES, walk


def test_from_a_folder_to_a_detector_by_the_pages_steps(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = walk("coco.md", monkeypatch)
    assert set(found["space"].names) == {"square", "bar", "red", "blue"}
    assert factory.rebuild(tmp_path / "out/red-square").answers == ("square", "red")
    assert found["seen"].boxes.shape[1] == 4
    assert {"found.png", "frontier", "eight"} <= {path.name for path in (tmp_path / "out").iterdir()}

    fault, content = "annotations 7: its box is empty", found["content"]
    assert f"`{fault}`" in PAGES["coco.md"]
    content["annotations"][7]["bbox"][2] = 0
    (tmp_path / "things/annotations.json").write_text(json.dumps(content))
    words = ("frontier", "things-kit", "--task", "bar", "--pictures", "things", "--points", 2, "-o", "out/no")
    assert fault in call(*words)[2]
