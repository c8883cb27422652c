"""From a large model to a small one and to both at work, from the shell, on the model that ships."""

import json
import re

import pytest
from diffusers import UNet2DConditionModel
from PIL import Image

from intarsia import hosts, load_plan, price, resolve
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder


@pytest.fixture(scope="module")
def student(call, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "student"
    code, out, _ = call("assemble", "bk-base", "--experts", "time", "-o", str(folder))
    assert code == 0
    assert re.search(r"20\.6 Mparameters became 1\d\.\d M; 427 MMACs a call, 279 M", out), out
    return folder


def test_an_assembled_model_remembers_how_it_was_made(student):
    record = json.loads((student / "assembly.json").read_text())
    assert record["intarsia"] == "assembly/1"
    assert record["sources"] == {"": "emoji"}
    assert record["blocks"]["up_blocks.2"] == "up_blocks.2"
    assert record["experts"]["down_blocks.1.resnets.0.conv2"] == [
        "down_blocks.1.resnets.1.conv2",
        "down_blocks.1.resnets.1.conv1",
    ]
    assert "pairs.*.1" in record["plan"]


def test_it_is_distilled_and_answers_beside_its_teacher(student, tmp_path, intarsia):
    (tmp_path / "prompts.txt").write_text("a fox in noto style\na rocket in flat style\n")
    words = ["distill", str(student), "--prompts", "prompts.txt", "--drawings", "4", "--batch", "2", "-o", "taught"]
    code, out, said = intarsia(*words, "--steps", "6", "--incubate", "0.5")
    assert code == 0, said
    assert "4 lessons" in out
    settings = json.loads((tmp_path / "taught/distilled.json").read_text())
    assert settings["step"] == 3
    assert (tmp_path / "taught/assembly.json").exists()

    assert intarsia("plan", "switch", "--other", "small=taught", "--order", "first", "--calls", "2", "--steps", "4",
                    "-o", "switch.yaml")[0] == 0  # fmt: skip
    assert load_plan(tmp_path / "switch.yaml").rules[0].rows == "0:2"
    code, out, _ = intarsia("price", "switch.yaml", "--other", "small=taught")
    assert code == 0
    assert "in 4 calls, 82.6%" in out
    code, _, _ = intarsia("run", "a fox in noto style", "-p", "switch.yaml", "--other", "small=taught", "-o", "out",
                          "--rounds", "1")  # fmt: skip
    assert code == 0
    assert "switch" in (tmp_path / "out/report.md").read_text()


def test_sites_are_filled_from_another_model(tmp_path, intarsia):
    (tmp_path / "filled.yaml").write_text(
        "intarsia: plan/1\nrows: 1\nrules:\n- {rows: '0', sites: pairs.1.1, do: skip}\n"
        "- {rows: '0', sites: up_blocks.2, do: {use: light}}\n"
    )
    words = ["assemble", "filled.yaml", "--source", "light=emoji", "--experts", "fixed", "--most", "1", "-o", "filled"]
    code, _, said = intarsia(*words)
    assert code == 0, said
    record = json.loads((tmp_path / "filled/assembly.json").read_text())
    assert record["sources"] == {"": "emoji", "light": "emoji"}
    assert {len(donors) for donors in record["experts"].values()} == {1}
    assert intarsia("distill", "filled", "--steps", "1", "--drawings", "1", "--batch", "1", "-o", "taught")[0] == 0
    assert json.loads((tmp_path / "taught/assembly.json").read_text())["experts"] == {}
    assert type(load_pipeline(tmp_path / "taught").unet) is UNet2DConditionModel


def test_what_cannot_be_incubated_is_refused_before_anything_is_kept(tmp_path, intarsia):
    pipe = load_pipeline(model_folder("emoji"))
    pipe.unet = UNet2DConditionModel.from_config(pipe.unet.config | {
        "block_out_channels": (32, 64), "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    })  # fmt: skip
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    code, _, said = intarsia("distill", "tiny", "--teacher", "emoji", "--incubate", "0.5", "-o", "taught")
    assert code == 1
    assert "train it without stages" in said
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_run_that_goes_on_must_be_the_same(student, tmp_path, intarsia):
    (tmp_path / "taught.training").mkdir()
    (tmp_path / "taught.training/settings.json").write_text('{"steps": 9}')
    code, _, said = intarsia("distill", str(student), "--steps", "5", "-o", "taught")
    assert code == 1
    assert "begun with other settings" in said
    assert "steps 9, now 5" in said


def test_pictures_of_ones_own(student, tmp_path, intarsia):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (90, 70), "red").save(folder / "red.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "red.png", "text": "red"}\n{"file_name": "blue.png"}\nno\n')
    words = ["distill", str(student), "--pictures", "pictures", "--steps", "1", "--batch", "1", "-o", "taught"]
    code, _, said = intarsia(*words)
    assert code == 1
    assert "metadata.jsonl:2" in said
    assert "metadata.jsonl:3" in said
    (folder / "metadata.jsonl").write_text('{"file_name": "red.png", "text": "red"}\n')
    code, out, _ = intarsia(*words)
    assert code == 0
    assert "1 lessons" in out


@pytest.mark.parametrize("size", [(), ("--height", "64", "--width", "64")])
def test_what_matters_least_is_left_out(tmp_path, intarsia, size):
    code, out, _ = intarsia(
        "plan", "assemble", "--macs", "0.9", *size, "--steps", "2", "--prompt", "a fox", "-o", "less.yaml"
    )
    assert code == 0
    assert re.search(r"\n(8\d|90)\.\d% of the MACs left; its answers are \d+\.\d\d% off before any training", out), out
    plan = load_plan(tmp_path / "less.yaml")
    assert plan.rows == 1
    assert plan.made_by["planner"] == "assemble"
    side = 64 if size else 8
    outline = hosts.of(load_pipeline(model_folder("emoji")).unet, height=side, tokens=24).outline
    # The share is of the units' MACs, so the time embedding is not in it.
    assert price(resolve(plan, outline)).macs_ratio == pytest.approx(plan.made_by["share"], abs=3e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["assemble", "bk-base", "--source", "twin", "-o", "x"], "write NAME=MODEL"),
        (["assemble", "emoji-fast", "-o", "x"], "cannot be baked"),
        (["assemble", "bk-base", "--most", "1", "-o", "x"], "Say --experts too"),
        (["assemble", "bk-base", "--model", "nowhere", "-o", "x"], "there is no model folder 'nowhere'"),
        (["distill", "nowhere", "-o", "x"], "there is no model folder 'nowhere'"),
        (["distill", "emoji", "--prompts", "a", "--pictures", "b", "-o", "x"], "either --pictures or --prompts"),
        (["plan", "assemble", "-o", "x"], "either --macs or --seconds"),
        (["plan", "assemble", "--seconds", "0.9", "--height", "64", "-o", "x"], "are for --macs"),
        (["plan", "switch", "--other", "a=emoji", "-o", "x"], "needs --macs"),
        (["plan", "switch", "--other", "a=emoji", "--order", "last", "--below", "4", "-o", "x"], "--order first"),
        (["run", "a fox", "--other", "a=emoji", "--other", "a=emoji", "-o", "x"], "given to two models"),
    ],
)
def test_refusals(words, said, tmp_path, intarsia):
    code, _, told = intarsia(*words)
    assert code == 1
    assert said in told
    assert not list(tmp_path.iterdir())


def test_a_small_model_is_seen_beside_its_teacher(tmp_path, intarsia):
    words = ["run", "a fox in noto style", "--steps", "2", "--rounds", "1"]
    assert intarsia(*words, "-o", "teacher")[0] == 0
    code, _, said = intarsia(*words, "--model", "emoji-light", "--beside", "emoji", "-o", "out")
    assert code == 0, said
    assert "| 64.4% |" in (tmp_path / "out/report.md").read_text()
    drawn, whole = (
        Image.open(tmp_path / f"out/00-a-fox-in-noto-style-{name}.png") for name in ("emoji-light", "whole")
    )
    assert whole == Image.open(tmp_path / "teacher/00-a-fox-in-noto-style-whole.png") != drawn
    (tmp_path / "empty.yaml").write_text("intarsia: plan/1\nrows: 2\nrules: []\n")
    code, out, _ = intarsia("price", "empty.yaml", "--outline", "emoji-light", "--beside", "emoji")
    assert code == 0
    assert "64.4% of the whole host's" in out
    code, _, said = intarsia(*words, "--beside", "emoji", "--speed", "2x", "-o", "x")
    assert code == 1
    assert "nothing goes beside it" in said
