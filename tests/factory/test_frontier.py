"""Frontiers and models in 8 bits, on labelled pictures of a person's own."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import CardError, FitError, factory
from intarsia.factory.frontier import frontier, shares_between
from intarsia.factory.int8 import halves
from intarsia.factory.labelled import read_labelled, read_picture
from intarsia.graphs.backends import BACKENDS

from .conftest import CLOCK, call


def test_a_frontier_is_made_of_fulfilled_orders(kit):
    task = kit.space.read("red, pink, grey")
    pictures, answers = torch.randn(12, 3, 32, 32), torch.tensor(task.answers).repeat(4)
    marks = factory.choice_marks(task, answers)
    seen = frontier(kit, task, pictures, marks, shares_between(kit, 4), clock=CLOCK)
    assert [point.share for point in seen] == pytest.approx([0.7, 0.7 ** (2 / 3), 0.7 ** (1 / 3), 1.0])
    for point in seen:
        done = factory.fulfil(factory.Order(task, factory.Budget(macs=point.macs)), kit)
        assert (point.macs, point.params) == (done.costs["macs"], done.costs["params"])
        assert point.seconds == pytest.approx(CLOCK.each_call + CLOCK.each_mac * point.macs)
        said = torch.tensor(task.answers)[done.model(pictures).argmax(1)]
        assert point.accuracy == pytest.approx(float((said == answers).float().mean()))
    with pytest.raises(FitError, match="was not trained for"):
        frontier(kit, task, pictures, marks, (0.2,))
    with pytest.raises(FitError, match="ask for two or more"):
        shares_between(kit, 1)


def test_labelled_pictures_are_read_as_the_kit_takes_them(kit, labelled, tmp_path):
    task = kit.space.read("red, grey")
    pictures, answers = read_labelled(labelled, kit, task)
    assert pictures.shape == (12, 3, 32, 32)
    assert answers.tolist() == [5] * 6 + [0] * 6
    assert torch.equal(pictures[6, :, 0, 0], torch.tensor([1.0, -1.0, -1.0]))
    Image.new("RGBA", (9, 9)).save(tmp_path / "through.png")
    assert (read_picture(tmp_path / "through.png", kit) == 1).all(), "white, as on paper"
    Image.fromarray(np.full((9, 9), 30_000, np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png", kit).unique().item() == pytest.approx(2 * 30_000 / 65_535 - 1, abs=0.01)
    Image.new("L", (9, 9)).save(tmp_path / "one.png")
    with pytest.raises(CardError, match="Give one with a subfolder"):
        read_labelled(tmp_path / "one.png", kit, task)
    with pytest.raises(FitError, match="no pictures of 'red'"):
        read_labelled(tmp_path, kit, task)
    (tmp_path / "reed").mkdir()
    with pytest.raises(FitError, match=r"there is no answer 'reed'\. Nearest: 'red'"):
        read_labelled(tmp_path, kit, task)
    (tmp_path / "reed").rename(tmp_path / "red")
    (tmp_path / "red/broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(CardError, match=r"broken\.png: not a picture"):
        read_labelled(tmp_path, kit, task)


def test_drawn_and_tabled_from_the_shell(folder, labelled, tmp_path):
    words = ["frontier", folder, "--task", "red, cool", "--pictures", labelled, "--points", 3]
    code, out, _ = call(*words, "-o", tmp_path / "macs")
    assert code == 0
    assert "right at 70%" in out
    rows = list(csv.DictReader((tmp_path / "macs/frontier.csv").read_text().splitlines()))
    assert [row.keys() for row in rows] == [{"share": 0, "macs": 0, "params": 0, "accuracy": 0}.keys()] * 3
    assert int(rows[0]["macs"]) < int(rows[1]["macs"]) < int(rows[2]["macs"])
    with Image.open(tmp_path / "macs/frontier.png") as page:
        assert (70, 130, 180) in page.getdata()  # the line
    code, out, _ = call(*words, "--against", "milliseconds", "-o", tmp_path / "seconds")
    assert code == 0
    assert " ms" in out
    assert "exists, and nothing was written" in call(*words, "-o", tmp_path / "macs")[2]


def test_eight_bits_are_judged_on_pictures_that_did_not_set_them(folder, labelled, tmp_path):
    code, out, refusal = call(
        "fulfil", folder, "--task", "red, cool", "--macs", "3.8M", "--int8", labelled, "-o", tmp_path / "out"
    )
    assert code == 0, refusal
    assert "in 8 bits: " in out
    told = json.loads((tmp_path / "out/report.json").read_text())["int8"]
    assert told["pictures"] == 12
    ready = BACKENDS["onnx"].ready
    kit = factory.load_kit(folder)
    shown = factory.read_exam(labelled, kit, kit.space.read("red, cool")).pictures
    runs = [ready(tmp_path / "out" / name, torch.float32) for name in ("model.onnx", "model.int8.onnx")]
    before, after = (torch.cat([run([one[None]])[0] for one in shown]).argmax(1) for run in runs)
    assert (before == after).float().mean() >= 0.75
    assert told["seconds"] > 0
    whole, eight = ((tmp_path / "out" / name).stat().st_size for name in ("model.safetensors", "model.int8.onnx"))
    assert eight < 0.6 * whole
    assert not list((tmp_path / "out").glob("model.int8.[!o]*"))
    with pytest.raises(FitError, match="too few for 8 bits"):
        halves(15)
