"""`intarsia meter` and `intarsia fulfil`, as a person would use and misuse them."""

import dataclasses
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from intarsia.cli import main, measuring
from intarsia.factory import WallClock

from .conftest import CLOCK, call


def test_measured_and_fulfilled(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(WallClock, "seconds", lambda _clock, model, inputs: CLOCK.seconds(model, inputs))
    device = tmp_path / "here.yaml"
    code, out, _ = call("meter", folder, "--device", device, "--subnets", 24)
    assert code == 0
    assert "on 8 models that the fit has not seen" in out
    assert re.search(r"measured 24 models in \d+ s", out)
    assert "every model has 51% of the MACs or more" in out
    assert "stays whole: conv1.0 and 5 more: Conv2d, which we do not follow; all such have 48% of the MACs" in out
    words = ("fulfil", folder, "--task", "red, cool", "--device", device, "--milliseconds")
    code, out, _ = call(*words, 3.6, "--to", "onnx", "--to", "openvino", "-o", tmp_path / "out")
    assert code == 0
    assert "tells apart: red, green, blue, cyan" in out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert 3.2e-3 < report["costs"]["seconds"] <= 3.6e-3  # it is the budget that decides
    assert report["costs"]["seconds"] == pytest.approx(CLOCK.each_call + CLOCK.each_mac * report["costs"]["macs"])
    assert all(differs < 1e-4 for differs in report["differs_from_pytorch"].values())
    assert {"model.onnx", "model.xml", "model.bin", "model.safetensors"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "out exists, and nothing was written" in call("fulfil", folder, "--task", "all", "-o", tmp_path / "out")[2]
    code, _, refusal = call(*words, 1, "-o", tmp_path / "none")
    assert code != 0
    assert "ms and not 1." in refusal
    assert not (tmp_path / "none").exists()


def test_what_is_not_installed_is_told_with_the_command_that_brings_it(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "timm", None)
    words = ["fulfil", folder, "--task", "all", "--macs", "3M", "-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["intarsia", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "timm is not installed, and this needs it: pip install 'intarsia[factory]'\n"
    monkeypatch.setattr(main, "app", lambda: importlib.import_module("intarsia.nowhere"))
    with pytest.raises(ModuleNotFoundError):
        main.main()
    listed = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for package, extra in main.EXTRAS.items():
        assert any(line.startswith(package.replace("_", "-")) for line in listed["optional-dependencies"][extra])


def test_this_machine_is_measured_once_and_again_if_what_was_kept_is_damaged(
    kit, device, tmp_path, monkeypatch, capsys
):
    asked = []

    def measured(kit, subnets):
        asked.append(subnets)
        (kept,) = tmp_path.rglob("*.yaml") if len(asked) > 1 else [None]
        assert kept is None or kept.read_text() == "damaged"  # there already, as if another had written it meanwhile
        return device

    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path))
    monkeypatch.setattr(measuring, "measured", measured)
    assert [measuring.this_machine(kit) for _ in range(2)] == [device, device]
    assert asked == [60]
    assert "rank correlation" in capsys.readouterr().err
    next(tmp_path.rglob("*.yaml")).write_text("damaged")
    assert [measuring.this_machine(kit) for _ in range(2)] == [device, device]
    assert asked == [60, 60]


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (["--params", "10"], r"\d+ parameters and not 10\."),
        (["--milliseconds", "1"], r"2\.\d+ ms and not 1\."),
        (["--milliseconds", "1", "--params", "10"], r"2\.\d+ ms and not 1, \d+ parameters and not 10\."),
        (
            ["--milliseconds", "1", "--macs", "4M"],
            r"2\.\d+ ms and not 1\. --macs can be met, --milliseconds cannot, whatever else is allowed\.",
        ),
        (
            ["--macs", "10k", "--bytes", "1k", "--milliseconds", "50"],
            r".* MACs and not 10000, .* B and not 1000\. --milliseconds can be met, --macs and --bytes cannot, .*",
        ),
    ],
)
def test_over_budget_is_one_line_and_exit_code_3(folder, device, tmp_path, monkeypatch, capsys, bounds, says):
    monkeypatch.setattr(
        measuring, "this_machine", lambda _kit: dataclasses.replace(device, machine=WallClock().machine)
    )
    monkeypatch.setattr(WallClock, "seconds", lambda _clock, model, inputs: CLOCK.seconds(model, inputs))
    words = ["fulfil", folder, "--task", "red, blue", *bounds, "-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["intarsia", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert re.fullmatch(rf"over budget: the cheapest model for this task costs {says}\n", said), said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "code", "says"),
    [
        ("red, blue", 3, r"over budget: the cheapest model for this task costs \d+ parameters and not 10\.\n"),
        ("red, bleu", 1, r"there is no 'bleu'\. Nearest: 'blue'.*\n"),
    ],
)
def test_processes_end_as_they_are_told_to(folder, tmp_path, task, code, says):
    words = ["fulfil", folder, "--task", task, "--params", "10", "-o", tmp_path / "out"]
    ran = subprocess.run([sys.executable, "-m", "intarsia", *map(str, words)], capture_output=True, text=True)
    assert ran.returncode == code
    assert ran.stdout == ""
    assert re.fullmatch(says, ran.stderr), ran.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--task", "red, bleu", "--macs", "3M"], "there is no 'bleu'. Nearest: 'blue'"),
        (["--task", "red, blue"], "say what it may cost: --milliseconds, "),
        (["--task", "red, blue", "--params", "10"], "the cheapest model for this task costs"),
        (["--task", "red, blue", "--macs", "3M", "--device", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_refusals(folder, tmp_path, words, says):
    code, _, refusal = call("fulfil", folder, *words, "-o", tmp_path / "out")
    assert code != 0
    assert says in refusal
    assert not (tmp_path / "out").exists()
