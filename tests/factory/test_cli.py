"""`intarsia meter` and `intarsia fulfil`, as a person would use and misuse them."""

import json

import pytest

from intarsia.factory import WallClock

from .conftest import CLOCK, call


def test_measured_and_fulfilled(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(WallClock, "seconds", lambda _clock, model, inputs: CLOCK.seconds(model, inputs))
    device = tmp_path / "here.yaml"
    code, out, _ = call("meter", folder, "--device", device, "--subnets", 24)
    assert code == 0
    assert "on 8 models that the fit has not seen" in out
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
    assert "s and not 0.001" in refusal
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--task", "red, bleu", "--macs", "3M"], "there is no 'bleu'. Nearest: 'blue'"),
        (["--task", "red, blue"], "a budget bounds something"),
        (["--task", "red, blue", "--params", "10"], "the cheapest model for this task costs"),
        (["--task", "red, blue", "--macs", "3M", "--device", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_refusals(folder, tmp_path, words, says):
    code, _, refusal = call("fulfil", folder, *words, "-o", tmp_path / "out")
    assert code != 0
    assert says in refusal
    assert not (tmp_path / "out").exists()
