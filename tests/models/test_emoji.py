"""The shipped model is an ordinary pipeline that stock diffusers loads, and its prices are its meter's."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from intarsia import hosts, load_outline, load_plan, price, resolve, rig
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import MODELS, PICKLES, plan_file

FOLDER = MODELS / "emoji"

STOCK = """
import sys, torch
torch.set_num_threads(1)
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(sys.argv[1], local_files_only=True)
pipe.set_progress_bar_config(disable=True)
picture = pipe("a red heart in flat style", num_inference_steps=20, guidance_scale=3.0,
               generator=torch.Generator().manual_seed(0)).images[0]
assert not [name for name in sys.modules if name.startswith("intarsia")]
picture.save(sys.argv[2])
"""


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline(FOLDER, device="cpu")


def test_stock_diffusers_draws_with_it(tmp_path):
    from PIL import Image

    path = tmp_path / "heart.png"
    subprocess.run([sys.executable, "-c", STOCK, str(FOLDER), str(path)], check=True, capture_output=True)
    with Image.open(path) as drawn:
        picture = np.asarray(drawn).astype(int)
    assert picture.shape == (64, 64, 3)
    assert picture[:3].mean() > 235, "emoji stand on white"
    red, green, blue = picture[24:40, 24:40].reshape(-1, 3).mean(0)
    assert red > 1.5 * max(green, blue), "a red heart is red in the middle"


def test_it_is_small_and_safe():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    modules = [path for path in files if path.parent.name == "modules"]
    whole, senses = (sum(path.stat().st_size for path in part) for part in (files, modules))
    assert whole - senses < 90e6, "the model itself, as before any module came along"
    assert senses < 9.6e6
    assert not [path for path in files if path.suffix in PICKLES]
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"


def test_its_card_tells_where_it_comes_from():
    card = (FOLDER / "README.md").read_text()
    for word in ("Noto", "Twemoji", "EmojiOne", "FxEmojis", "Fluent", "emojibase", "MiniLM", "commit", "held out"):
        assert word in card
    assert "{" not in card.split("---", 2)[2].replace("{thing}", "").replace("{style}", "")


def test_its_outline_is_up_to_date(pipe):
    found = rig.outline_of(hosts.of(pipe.unet), tokens=pipe.tokenizer.model_max_length)
    assert load_outline(FOLDER / "outline.json") == found


@pytest.mark.parametrize("name", ["emoji-fast", "emoji-faster"])
def test_a_picture_under_a_plan_costs_its_price(pipe, name):
    plan, host = load_plan(plan_file(name)), hosts.of(pipe.unet)
    bill = price(resolve(plan, rig.outline_of(host, batch=2, tokens=pipe.tokenizer.model_max_length)))

    def draw():
        return pipe(
            "a fox in noto style", num_inference_steps=plan.rows, guidance_scale=3.0, output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images  # fmt: skip

    before = draw()
    with rig.applied(plan, host) as live:
        with rig.count_macs() as macs:
            under = draw()
        words_and_none = sum(call.recalled for call in live.trace)
    text = 2 * text_macs(pipe)
    assert macs.total - text == bill.total
    assert words_and_none == sum(row_macs < bill.whole for row_macs in bill.macs)  # one site, told in these rows
    assert under.isfinite().all()
    assert torch.equal(draw(), before)


def text_macs(pipe):
    """What the text encoder costs for one prompt."""
    with rig.count_macs() as macs:
        ids = torch.zeros(1, pipe.tokenizer.model_max_length, dtype=torch.long)
        pipe.text_encoder(ids, attention_mask=torch.ones_like(ids))
    return macs.total
