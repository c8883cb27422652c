"""What the README shows is what happens."""

import re
import shlex

import numpy as np
import onnxruntime
import pytest
import torch

from .pages import EXAMPLES, README, ROOT, commands_of, run


def test_the_faster_example_runs(capsys):
    exec(compile(EXAMPLES["faster"], "README: faster", "exec"), {})
    assert "host" in capsys.readouterr().out


def test_fifteen_lines_lead_from_a_model_of_ones_own_to_onnx(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = {"pictures": torch.randn(80, 3, 32, 32), "answers": torch.arange(80) % 4}
    with torch.enable_grad():
        exec(compile(EXAMPLES["kit"], "README: kit", "exec"), given)
    assert len(EXAMPLES["kit"].splitlines()) <= 15
    session = onnxruntime.InferenceSession(tmp_path / "out/by-hand/model.onnx")
    assert session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 32, 32), np.float32)})[0].shape == (1, 3)


def test_every_example_is_run():
    assert README.count("```python") == len(EXAMPLES)
    assert set(EXAMPLES) == {"faster", "kit"}


def test_the_drawing_is_what_the_command_prints(monkeypatch, capsys):
    shown = re.search(r"    \$ (intarsia show .*?)\n((?:    .*\n)+)", README)
    run(shlex.split(shown[1]), monkeypatch)
    expected = [line[4:].rstrip() for line in shown[2].splitlines()]
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == expected


@pytest.mark.parametrize("converting", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_shell_walk_works(monkeypatch, tmp_path, converting):
    """Graphs for other runtimes are tested in tests/graphs, on smaller models; here they take minutes."""
    monkeypatch.chdir(tmp_path)
    commands = commands_of(README.split("## From the shell")[1].split("Plans are small")[0])
    assert len(commands) >= 7
    for line in commands:
        if "path/to" not in line and (converting or not re.search("--backend|intarsia export", line)):
            run(shlex.split(line), monkeypatch)
    assert (tmp_path / "out/fox/contact-sheet.png").exists()
    assert list((tmp_path / "out/run").glob("*.png"))


def test_what_is_ordered_is_made_and_finds_what_it_was_ordered_for(monkeypatch, capsys, tmp_path):
    """Budgets of milliseconds, for which this machine would be measured, are of MACs here."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    commands = commands_of(README.split("## A small model for each task")[1].split("\n## ")[0])
    assert len(commands) == 4
    for line in commands:
        run(shlex.split(re.sub(r"--milliseconds \d+", "--macs 25M", line)), monkeypatch)
    assert "found 1; wrote out/found.png" in capsys.readouterr().out


def test_the_plan_in_the_readme_is_a_plan():
    from intarsia.plan.text import read_plan

    text = "\n".join(line[4:] for line in README.split("read and change:\n\n")[1].split("\n\n")[0].splitlines())
    assert read_plan(text, "README").rules[0].sites == "up_blocks.1"
