"""A UNet whose shape its config alone cannot say: it saves, loads, runs under plans, and begins as what it was."""

import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch import nn

from intarsia import FitError, Plan, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.hosts.assembled_unet import AssembledUNet
from intarsia.lighten import inherit
from intarsia.parts.expert_conv import GATES
from intarsia.plan import price, resolve
from tests.laws.conftest import inputs_of

EXPERTS = {
    "down_blocks.1.resnets.1.conv2": {"count": 4, "routing": "time"},
    "up_blocks.2.resnets.0.conv2": {"count": 2, "routing": "input", "gate": "softmax"},
    "mid_block.resnets.0.conv1": {"count": 3, "routing": "fixed", "gate": "sigmoid"},
}
LEFT_OUT = ("down_blocks.0.attentions.1", "down_blocks.0.resnets.1", "up_blocks.3.attentions.2")


def config(unet):
    return {key: value for key, value in unet.config.items() if not key.startswith("_")}


def assembled(stir=True, **changes):
    torch.manual_seed(1)
    unet = AssembledUNet(**{"left_out": LEFT_OUT, "experts": EXPERTS, **config(pico.unet()), **changes})
    unet.eval().requires_grad_(False)
    for conv in unet.expert_convs().values():
        if stir:
            conv.weight[1:].normal_(std=0.1)
            conv.scores.normal_()
            if conv.router is not None:
                conv.router.normal_()
    return unet


def answer(unet, time=500, batch=2):
    given = inputs_of(hosts.of(unet), time, batch=batch)
    cast = {key: value.to(unet.dtype) for key, value in given.items() if value.is_floating_point()}
    return unet(**given | cast).sample


def test_it_is_saved_and_loaded_by_diffusers(tmp_path):
    unet = assembled()
    unet.save_pretrained(tmp_path, safe_serialization=True)
    again = AssembledUNet.from_pretrained(tmp_path).eval()
    assert again.config.left_out == list(LEFT_OUT)
    assert torch.equal(answer(again), answer(unet))
    assert config(AssembledUNet.from_config(unet.config)) == config(unet)


def test_without_additions_it_is_the_plain_model():
    plain = pico.unet()
    unet = AssembledUNet(**config(plain)).eval()
    unet.load_state_dict(plain.state_dict())
    assert torch.equal(answer(unet), answer(plain))


def test_with_empty_experts_it_begins_as_it_was():
    plain = pico.unet()
    unet = AssembledUNet(**config(plain)).eval()
    unet.load_state_dict(plain.state_dict())
    for path in EXPERTS:
        unet.widen(path, count=4, routing="time")
    assert torch.equal(answer(unet), answer(plain))


@pytest.mark.parametrize("routing", ["time", "input", "fixed"])
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    ("count", "dtype"), [(2, torch.float32), (4, torch.float32), (4, torch.float64), (4, torch.bfloat16)], ids=str
)
def test_with_twins_everywhere_it_is_the_plain_model(count, dtype, gate, routing):
    plain = nn.Module.to(pico.unet(), dtype)
    unet = AssembledUNet.of(plain)
    for path in [name for name, module in plain.named_modules() if isinstance(module, nn.Conv2d)]:
        if ".resnets." in path:
            unet.widen(path, count=count, gate=gate, routing=routing)
    assert len(unet.expert_convs()) > 40
    for path, conv in unet.expert_convs().items():
        twin = plain.get_submodule(path)
        conv.weight.copy_(twin.weight.expand_as(conv.weight))
        conv.bias.copy_(twin.bias.expand_as(conv.bias))
    unet.eval()
    assert torch.equal(answer(unet, batch=1), answer(plain, batch=1))
    if routing == "input":  # a mixture for each sample goes through another convolution routine
        torch.testing.assert_close(answer(unet, batch=2), answer(plain, batch=2))
    else:
        assert torch.equal(answer(unet, batch=2), answer(plain, batch=2))


def test_time_is_read_off_the_call():
    unet = assembled().train()
    early, late = answer(unet, 900), answer(unet, 100)  # in training nothing is merged beforehand
    assert not unet.moment.merged
    unet.eval().premerge([900, 100])
    assert torch.equal(answer(unet, 900), early)
    assert torch.equal(answer(unet, 100), late)
    given = inputs_of(pico.host(), 0)
    each = unet(**given | {"timestep": torch.tensor([900, 100])}).sample
    torch.testing.assert_close(each[:1], early[:1])
    torch.testing.assert_close(each[1:], late[1:])


def test_time_steps_cost_their_price_once_they_are_merged():
    by_time = {path: {"count": one["count"], "routing": "time"} for path, one in EXPERTS.items()}
    unet = assembled(experts=by_time)
    priced = hosts.of(unet, batch=2, tokens=pico.TOKENS).outline.macs
    mixing = sum(
        conv.experts * (conv.weight[0].numel() + conv.bias[0].numel() + conv.router[0].numel())
        for conv in unet.expert_convs().values()
    )

    def metered(time):
        with rig.count_macs() as macs:
            answer(unet, time)
        return macs.total

    room, unet.moment.room = unet.moment.room, 0
    with pytest.warns(UserWarning, match="no more room"):
        assert [metered(500) - priced for _ in range(2)] == [mixing] * 2
    unet.moment.room = room
    assert [metered(500) - priced for _ in range(3)] == [mixing, 0, 0]
    unet.premerge([900])
    assert metered(900) == priced


def test_fixed_mixtures_fold(tmp_path):
    unet = assembled()
    before = answer(unet)
    unet.fold()
    torch.testing.assert_close(answer(unet), before)
    assert set(unet.config.experts) == set(EXPERTS) - {"mid_block.resnets.0.conv1"}
    unet.save_pretrained(tmp_path)
    torch.testing.assert_close(answer(AssembledUNet.from_pretrained(tmp_path).eval()), answer(unet))


def test_what_folds_whole_is_diffusers_own():
    unet = assembled(left_out=(), experts={path: {"count": 2, "routing": "fixed"} for path in EXPERTS})
    before, plain = answer(unet), unet.fold()
    assert type(plain) is UNet2DConditionModel
    assert not plain.training
    torch.testing.assert_close(answer(plain), before)
    assert config(plain) == config(pico.unet())


def test_without_room_kernels_are_mixed_at_each_call_and_it_is_said():
    unet = assembled()
    merged = answer(unet)
    unet.moment.merged.clear()
    unet.moment.room = 0
    with pytest.warns(UserWarning, match="no more room"):
        assert torch.equal(answer(unet), merged)
    assert not any(unet.moment.merged.values())


def test_it_is_a_host_of_plans_like_any_other():
    host = hosts.of(assembled(), batch=2, tokens=pico.TOKENS)
    assert host.outline.by_path["down_blocks.0.attentions.1"].macs == 0
    plan = inherit(4, every=2, sites="up_blocks.2")
    with rig.applied(plan, host) as live:
        for row in range(4):
            assert answer(host.module, 900 - row).isfinite().all()
    assert [call.recalled for call in live.trace] == [0, 1, 0, 1]


def test_gradients_are_the_same_with_checkpointing():
    """Kernels mixed anew on the way back are those of the way there."""
    gradients = []
    for checkpointing in (False, True):
        unet = assembled().train().requires_grad_(True)
        if checkpointing:
            unet.enable_gradient_checkpointing()
        with torch.enable_grad():
            unet(**inputs_of(pico.host(), 500)).sample.square().mean().backward()
        gradients.append({name: value.grad for name, value in unet.named_parameters() if value.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"left_out": ["up_blocks.1.resnets.0"]}, "changes the number of channels"),
        ({"left_out": [], "experts": {"mid_block": {"count": 2}}}, "only 2d convolutions"),
    ],
)
def test_refusals(changes, said):
    with pytest.raises(FitError, match=said):
        assembled(**changes)


def test_what_is_left_out_live_is_left_out_for_good():
    """The law of baking, for sites that can be skipped while the model is live."""
    host = pico.host()
    for pattern in ("down_blocks.1.attentions.1", "down_blocks.0.resnets.1", "mid_block.resnets.1", "**.attn1 | **.ff"):
        plan = Plan(1, (Rule("0", pattern, Skip()),))
        with rig.applied(plan, host):
            live = answer(host.module)
        smaller, lineage = rig.bake(plan, host)
        assert torch.equal(answer(smaller), live)
        assert smaller.config.left_out == list(resolve(plan, host.outline).cells[0])
        assert all(name == origin for name, origin in lineage.origins.items())
        assert hosts.of(smaller).outline.macs == price(resolve(plan, host.outline)).macs[0] < host.outline.macs


def test_what_was_left_out_before_keeps_its_place_when_more_is_cut():
    torch.manual_seed(0)
    unet = AssembledUNet(**config(pico.unet()) | {"left_out": LEFT_OUT, "experts": EXPERTS}).eval()
    rules = (Rule("0", "pairs.1.1 | pairs.3.1 | down_blocks.2.attentions.0.**.attn2", Skip()),)
    smaller, _ = rig.bake(Plan(1, rules), hosts.of(unet))
    assert smaller.config.left_out == [
        "down_blocks.0.attentions.1",
        "down_blocks.0.resnets.1",
        "up_blocks.3.attentions.2",
        "down_blocks.2.attentions.0.transformer_blocks.0.attn2",
    ]
    assert set(smaller.config.experts) == {"up_blocks.2.resnets.0.conv2", "mid_block.resnets.0.conv1"}
    assert torch.equal(smaller.up_blocks[2].resnets[0].conv2.weight, unet.up_blocks[2].resnets[0].conv2.weight)
    assert answer(smaller).isfinite().all()


def test_what_lies_in_a_left_out_unit_goes_with_it():
    host = pico.host()
    rules = (Rule("0", "down_blocks.0.attentions.1", Skip()), Rule("0", "down_blocks.0.**.attn1", Skip()))
    smaller, _ = rig.bake(Plan(1, rules), host)
    assert smaller.config.left_out == [
        "down_blocks.0.attentions.1",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
    ]
    wide = AssembledUNet(**config(pico.unet()) | {"experts": {"down_blocks.0.resnets.1.conv2": {"count": 2}}})
    smaller, _ = rig.bake(Plan(1, (Rule("0", "down_blocks.0.resnets.1", Skip()),)), hosts.of(wide))
    assert smaller.config.experts == {}


def test_a_stock_pipeline_saves_and_loads_it(tmp_path):
    pipe = pico.pipeline()
    pipe.unet = assembled()
    pipe.save_pretrained(tmp_path, safe_serialization=True)
    again = DiffusionPipeline.from_pretrained(tmp_path, text_encoder=None, tokenizer=None)
    assert type(again.unet) is AssembledUNet
    assert torch.equal(answer(again.unet.eval()), answer(pipe.unet))
