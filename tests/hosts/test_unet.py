"""What the outline of a UNet says, held against published figures and against the model itself."""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)

from intarsia import FitError, Plan, Rule, Skip, Use, hosts, load_plan, rig
from intarsia.hosts import pico
from intarsia.hosts.diffusers_unet import UNetHost
from intarsia.shipped import plan_file
from tests.laws.conftest import inputs_of

SD_15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD_XL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def on_meta(config):
    with torch.device("meta"):
        return UNetHost(UNet2DConditionModel(**config))


@pytest.fixture(scope="module")
def sd_15():
    return on_meta(SD_15)


SD_2 = SD_15 | {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
COSTS = {  # millions of parameters, and billions of MACs with and without the products in attention
    "SD 1.5": (SD_15, 859.52, 401.6, 338.6),
    "SD 2.1 base": (SD_2, 865.91, 402.1, 339.1),
    "SD 2.1": (SD_2 | {"sample_size": 96}, 865.91, 1074.6, 760.5),
    "SD XL": (SD_XL, 2567.46, 3380.6, 2988.7),
}


@pytest.mark.parametrize("name", COSTS)
def test_what_a_call_costs(name):
    config, params, gmacs, without_products = COSTS[name]
    host = on_meta(config)
    with rig.count_macs() as macs:
        host.module(**host.inputs())
    assert round(macs.total / 1e9, 1) == gmacs
    assert round(macs.without_attention_products / 1e9, 1) == without_products
    assert host.outline.macs == macs.total
    assert round(host.outline.params / 1e6, 2) == params


@pytest.mark.parametrize(
    ("config", "name", "share"),
    [
        (SD_15, "sd-fast", 0.558), (SD_15, "sd-faster", 0.410), (SD_2, "sd-fast", 0.558), (SD_2, "sd-faster", 0.410),
        (SD_XL, "sdxl-fast", 0.527), (SD_XL, "sdxl-faster", 0.369),
    ],
)  # fmt: skip
def test_ready_made_plans_fit_the_models_that_they_are_for(config, name, share):
    from intarsia import load_plan, price, resolve
    from intarsia.shipped import plan_file

    bill = price(resolve(load_plan(plan_file(name)), on_meta(config).outline))
    assert bill.macs_ratio == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(("branch", "share"), [(0, 0.079), (1, 0.224), (2, 0.380), (3, 0.470), (4, 0.564), (5, 0.673)])
def test_what_a_reuse_call_costs_on_sd_15(sd_15, branch, share):
    from intarsia import price, resolve
    from intarsia.lighten import branch_site, inherit

    site = branch_site(sd_15.outline, branch)
    bill = price(resolve(inherit(2, every=2, sites=site), sd_15.outline))
    assert bill.macs[1] / bill.whole == pytest.approx(share, abs=0.001)


THREE_LEVELS = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
}
SMALLER = {  # the plan, the config that its authors publish, millions of parameters, MACs at 512 px
    "bk-base": ({"layers_per_block": 1}, 579.38, 261_496_995_840),
    "bk-small": ({"layers_per_block": 1, "mid_block_type": None}, 482.35, 255_447_203_840),
    "bk-tiny": ({"layers_per_block": 1, "mid_block_type": None, **THREE_LEVELS}, 323.38, 242_754_519_040),
    "shallow": ({"layers_per_block": (1, 2, 2, 2)}, 848.79, 343_191_224_320),  # ours
    "shallower": ({"layers_per_block": (1, 1, 2, 2)}, 809.51, 303_661_547_520),  # ours
}


@pytest.mark.parametrize("name", SMALLER)
def test_smaller_shapes_are_plans_of_one_row(sd_15, name):
    changes, params, macs = SMALLER[name]
    smaller, lineage = rig.bake(load_plan(plan_file(name)), sd_15)
    published = on_meta(SD_15 | changes)
    shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (smaller, published.module)]
    assert shapes[0] == shapes[1]
    assert round(published.outline.params / 1e6, 2) == params
    assert published.outline.macs == hosts.of(smaller).outline.macs == macs
    # Up, the middle one of three layers goes, so the second comes from the third; and tiny has lost a level above it.
    shift, levels = int(name == "bk-tiny"), len(smaller.up_blocks)
    for level in range({"shallow": levels - 1, "shallower": levels - 2}.get(name, 0), levels):
        old = f"up_blocks.{level + shift}"
        for new, number in ((0, 0), (1, 2)):
            assert lineage.origin_of(f"up_blocks.{level}.resnets.{new}") == f"{old}.resnets.{number}"
            if level + shift:
                assert lineage.origin_of(f"up_blocks.{level}.attentions.{new}") == f"{old}.attentions.{number}"
    assert any(tensor.startswith(f"up_blocks.{levels - 1}.resnets.1.") for tensor in lineage.renamed)
    assert all(tensor.startswith("up_blocks.") for tensor in lineage.renamed)


CUTS = [
    "pairs.*.1",
    "pairs.0.1",
    "mid_block",
    "pairs.1.1 | pairs.2.1 | mid_block",
    "stages.3",
    "stages.[23] | pairs.*.1",
]


@pytest.mark.parametrize("cuts", CUTS)
def test_baked_equals_the_small_model_filled_along_the_lineage(cuts, tmp_path):
    host = pico.host()
    smaller, lineage = rig.bake(Plan(1, (Rule("0", cuts, Skip()),)), host)
    direct = UNet2DConditionModel.from_config(smaller.config).eval()
    theirs = host.module.state_dict()
    direct.load_state_dict({name: theirs[origin] for name, origin in lineage.origins.items()}, strict=True)
    inputs = {
        "sample": torch.randn(1, 4, 16, 16),
        "timestep": torch.tensor(3),
        "encoder_hidden_states": torch.randn(1, pico.TOKENS, pico.WIDTH),
    }
    expected = direct(**inputs).sample
    assert torch.equal(smaller.eval()(**inputs).sample, expected)
    smaller.save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path).eval()
    assert loaded.state_dict().keys() == smaller.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in smaller.state_dict().items())
    torch.testing.assert_close(loaded(**inputs).sample, expected)  # mapped memory is aligned otherwise: not to the bit


def test_keeping_everything_is_the_whole_model():
    host = pico.host()
    smaller, lineage = rig.bake(Plan(1), host)
    assert lineage.renamed == {}
    assert type(smaller) is UNet2DConditionModel
    ours, theirs = smaller.state_dict(), host.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    given = inputs_of(host, 500)
    assert torch.equal(smaller(**given).sample, host.module(**given).sample)


def test_slots_are_filled_from_the_models_that_are_named():
    host, other = pico.host(), pico.host(seed=1)
    rules = (
        Rule("0", "pairs.*.1", Skip()),
        Rule("0", "up_blocks.2", Use("b")),
        Rule("0", "down_blocks.1.attentions.0.transformer_blocks.0.attn2", Use("b")),
    )
    smaller, lineage = rig.bake(Plan(1, rules), host, {"b": other})
    known = {"": host.module.state_dict(), "b": other.module.state_dict()}
    for name, value in smaller.state_dict().items():
        origin = lineage.origins[name]
        asked = (
            "b" if origin.startswith(("up_blocks.2.", "down_blocks.1.attentions.0.transformer_blocks.0.attn2")) else ""
        )
        assert lineage.sources.get(name, "") == asked
        assert torch.equal(value, known[asked][origin])
    whole, lineage = rig.bake(Plan(1, (Rule("0", "host", Use("b")),)), host, {"b": other})
    assert all(torch.equal(value, known["b"][name]) for name, value in whole.state_dict().items())


def test_of_two_equal_models_as_of_one():
    host = pico.host()
    rules = (Rule("0", "mid_block", Skip()),)
    one, _ = rig.bake(Plan(1, rules), host)
    two, _ = rig.bake(Plan(1, (*rules, Rule("0", "up_blocks.*", Use("twin")))), host, {"twin": pico.host()})
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_source_of_another_shape_is_refused():
    host, wide = pico.host(), pico.host(block_out_channels=(16, 32, 64, 64))
    with pytest.raises(FitError, match="should come from 'wide', which has one of shape"):
        rig.bake(Plan(1, (Rule("0", "up_blocks.0", Use("wide")),)), host, {"wide": wide})


def test_bake_refuses(pico_host):
    from intarsia import PlanError, Reuse

    with pytest.raises(PlanError, match="2 rows cannot be baked"):
        rig.bake(Plan(2), pico_host)
    with pytest.raises(PlanError, match="before any row has computed"):
        rig.bake(Plan(1, (Rule("0", "mid_block", Reuse()),)), pico_host)
    with pytest.raises(FitError, match="cannot be cut out of a UNet"):
        pico_host.without(["up_blocks.0"])
    with pytest.raises(FitError, match="leaves a hole below stage 3"):
        pico_host.without(["stages.2"])
    with pytest.raises(FitError, match="has 16 channels, and what comes up from below 32"):
        pico_host.without(["stages.1", "stages.2", "stages.3"])


def test_units_add_up_to_the_model(pico_host):
    outline = pico_host.outline
    units = sum(unit.params for unit in outline.of_level("unit"))
    rest = outline.params - units
    embedding = sum(value.numel() for value in pico_host.module.time_embedding.parameters())
    norm = sum(value.numel() for value in pico_host.module.conv_norm_out.parameters())
    assert rest == embedding + norm


def test_strangers_are_refused():
    with pytest.raises(FitError, match="no host knows AutoencoderKL"):
        hosts.of(AutoencoderKL(block_out_channels=(32,)))
    with pytest.raises(TypeError, match="no size called 'hieght'"):
        pico.host().inputs(hieght=3)


def test_attention_down_blocks_are_followed():
    host = UNetHost(pico.unet(down_block_types=("AttnDownBlock2D",) * 4, up_block_types=("AttnUpBlock2D",) * 4))
    assert host.outline.macs > 0


@pytest.mark.parametrize("kind", ["image", "text_image"])
def test_unets_that_are_told_pictures_in_place_of_words_are_refused(kind):
    """Kandinsky's, which the README says are not among those that plans are for."""
    host = hosts.of(pico.unet(addition_embed_type=kind, encoder_hid_dim_type=f"{kind}_proj", encoder_hid_dim=8))
    with pytest.raises(FitError, match="we do not know what such a UNet is called with"):
        _ = host.outline


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        (DDIMScheduler(), 25), (EulerDiscreteScheduler(), 25), (DPMSolverMultistepScheduler(), 25),
        (PNDMScheduler(skip_prk_steps=True), 24),
    ],
    ids=["ddim", "euler", "dpm", "pndm"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["sd-fast", "sd-faster", "sdxl-fast", "sdxl-faster"])
def test_ready_made_plans_are_for_the_steps_that_they_name(name, sampler, steps):
    from intarsia import load_plan
    from intarsia.shipped import plan_file

    plan = load_plan(plan_file(name))
    assert hosts.rows(sampler, steps) == plan.rows
    assert str(steps) in str(plan.made_by["for"])
