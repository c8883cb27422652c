"""docs/kits.md, run from top to bottom, but for what is done on another machine."""

import re

from intarsia import factory

from .pages import walk


def changed(line):
    """Devices of other machines are tested in tests/factory/test_devices.py."""
    if re.search("--export|--times", line):
        return None
    return line.replace("meter own-kit", "meter own-kit --subnets 24")


def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = walk("kits.md", monkeypatch, changed)
    assert factory.rebuild(tmp_path / "out/warm").answers == ("red", "green", "blue")
    assert {"model.onnx", "model.int8.onnx"} <= {path.name for path in (tmp_path / "out/colours").iterdir()}
    assert (tmp_path / "out/frontier/frontier.png").exists()
    assert set(found["pack"].scenarios) == {"warm", "colours"}
