"""A UNet's folder that borrows the rest of its pipeline."""

import json

import pytest
import torch

from intarsia import CardError, Plan, Rule, Skip, hosts, rig
from intarsia.hosts.pipelines import final_latents, load_pipeline
from intarsia.shipped import model_folder


def test_a_unet_alone_is_a_model(tmp_path):
    pipe = load_pipeline(model_folder("emoji"), device="cpu")
    cuts = "pairs.0.1 | mid_block.attentions.0"
    pipe.unet, _ = rig.bake(Plan(1, (Rule("0", cuts, Skip()),)), hosts.of(pipe.unet))
    pipe.unet.save_pretrained(tmp_path / "unet", safe_serialization=True)
    (tmp_path / "borrows.json").write_text('{"intarsia": "borrows/1", "from": "emoji"}')
    again = load_pipeline(model_folder(str(tmp_path)), device="cpu")
    assert again.unet.config.left_out == ["mid_block.attentions.0"]
    one, two = (final_latents(each, ["a fox"], steps=2, guidance=3.0) for each in (pipe, again))
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("text", "said"),
    [("no", "should hold"), (json.dumps({"of": "emoji"}), "should hold"), (json.dumps({"from": "x"}), "no pipeline's")],
)
def test_what_cannot_be_borrowed(tmp_path, text, said):
    (tmp_path / "borrows.json").write_text(text)
    with pytest.raises(CardError, match=said):
        model_folder(str(tmp_path))
