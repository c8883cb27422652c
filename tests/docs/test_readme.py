"""What the README shows is what happens."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from intarsia import factory
from intarsia.cli import main as command

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README, re.S))


def test_the_faster_example_runs_and_the_server_goes_on_from_there(capsys):
    names = {}
    exec(compile(EXAMPLES["faster"], "README: faster", "exec"), names)
    assert "host" in capsys.readouterr().out
    exec(compile(EXAMPLES["server"], "README: server", "exec"), names)
    assert names["pipe"].unet.is_cache_enabled
    others = EXAMPLES.keys() - {"faster", "server", "factory"}
    assert others == {"senses"}, "test_senses_walk.py runs the one that is not run here"


def test_the_factory_example_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES["factory"].strip().splitlines()) <= 15
    with torch.enable_grad():
        exec(compile(EXAMPLES["factory"], "README: factory", "exec"), {})
    assert (tmp_path / "out/pets/model.onnx").exists()
    assert factory.rebuild(tmp_path / "out/pets").answers == ("cat", "dog", "owl")


def run(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    try:
        command.main()
    except SystemExit as stop:
        assert not stop.code, words


def test_the_drawing_is_what_the_command_prints(monkeypatch, capsys):
    shown = re.search(r"    \$ (intarsia show .*?)\n((?:    .*\n)+)", README)
    run(shlex.split(shown[1]), monkeypatch)
    expected = [line[4:].rstrip() for line in shown[2].splitlines()]
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == expected


@pytest.mark.parametrize("converting", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_shell_walk_works(monkeypatch, tmp_path, converting):
    """Graphs for other runtimes are tested in tests/graphs, on smaller models; here they take minutes."""
    monkeypatch.chdir(tmp_path)
    walk = README.split("## From the shell")[1].split("Plans are small")[0]
    commands = re.findall(r"^    (intarsia .*?)(?:\s+#.*)?$", walk, re.M)
    assert len(commands) >= 7
    for line in commands:
        if "path/to" not in line and (converting or not re.search("--backend|intarsia export", line)):
            run(shlex.split(line), monkeypatch)
    assert (tmp_path / "out/fox/contact-sheet.png").exists()
    assert list((tmp_path / "out/run").glob("*.png"))


def test_the_plan_in_the_readme_is_a_plan():
    from intarsia.plan.text import read_plan

    text = "\n".join(line[4:] for line in README.split("read and change:\n\n")[1].split("\n\n")[0].splitlines())
    assert read_plan(text, "README").rules[0].sites == "up_blocks.1"
