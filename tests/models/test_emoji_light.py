"""The shipped student: small, safe, as its record says, and near to its teacher."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from intarsia import hosts, load_outline, load_plan, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.assembled_unet import AssembledUNet
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten.record import ancestry_of, read_record
from intarsia.lighten.switch import last, switch
from intarsia.plan.text import write_plan
from intarsia.shipped import MODELS, PICKLES, plan_file

FOLDER, TEACHER = MODELS / "emoji-light", MODELS / "emoji"
PROMPTS = ("a fox in noto style", "a red heart in flat style", "a guitar in twemoji style", "a tree in 3d style")
WORDS = {"num_inference_steps": 20, "guidance_scale": 3.0}


@pytest.fixture(scope="module")
def light():
    return load_pipeline(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def whole():
    return load_pipeline(TEACHER, device="cpu")


def drawn(pipe, **words):
    seeded = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
    return pipe(list(PROMPTS), generator=seeded, **WORDS, **words).images


def test_it_is_small_and_safe_and_has_a_card():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert not [path for path in files if path.suffix in PICKLES]
    assert "{" not in (FOLDER / "README.md").read_text()


def test_it_is_what_its_record_says(light, whole):
    record = read_record(FOLDER)
    assert record.plan == write_plan(load_plan(plan_file("emoji-light")))
    ancestry = ancestry_of(record, hosts.of(whole.unet))
    theirs, ours, several = whole.unet.state_dict(), light.unet.state_dict(), sorted(light.unet.expert_convs())
    assert several == sorted(record.experts)
    plain = [name for name in ours if not name.startswith(tuple(f"{path}." for path in several))]
    assert [ours[name].shape for name in plain] == [theirs[ancestry[name]].shape for name in plain]
    found = rig.outline_of(hosts.of(light.unet), tokens=light.tokenizer.model_max_length)
    assert load_outline(FOLDER / "outline.json") == found


def test_it_draws_what_its_teacher_draws(light, whole):
    ours, theirs = (np.stack([np.asarray(one) for one in drawn(pipe)]) for pipe in (light, whole))
    near = [psnr(one, two) for one, two in zip(ours, theirs, strict=True)]
    others = [psnr(one, two) for one, two in zip(ours, np.roll(theirs, 1, 0), strict=True)]
    assert np.median(near) > np.median(others) + 8


def test_diffusers_takes_it_as_the_card_says(light):
    unet = AssembledUNet.from_pretrained(FOLDER / "unet")
    pipe = DiffusionPipeline.from_pretrained(TEACHER, unet=unet, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    assert torch.equal(drawn(pipe, output_type="latent"), drawn(light, output_type="latent"))


def test_the_teacher_ends_what_it_began_at_its_price(light, whole):
    rows = WORDS["num_inference_steps"]
    plan = switch(rows, {"teacher": last(rows, 5)})
    host, teacher = hosts.of(light.unet), hosts.of(whole.unet)
    sizes = {"batch": 2 * len(PROMPTS), "tokens": light.tokenizer.model_max_length}
    outlines = [rig.outline_of(one, **sizes) for one in (host, teacher)]
    bill = price(resolve(plan, outlines[0], {"teacher": teacher}), {"teacher": outlines[1]})

    def counted():
        with rig.count_macs() as macs:
            drawn(light, output_type="latent")
        return macs.total

    beside = counted() - rows * outlines[0].macs  # words, and whatever else is no call of the UNet
    beside_again = counted() - rows * outlines[0].macs  # kernels are merged by now
    assert beside_again <= beside
    with rig.applied(plan, host, others={"teacher": teacher}):
        assert counted() - beside_again == bill.total
