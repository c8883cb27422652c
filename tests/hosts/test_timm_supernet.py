"""What must hold for every family that can be narrowed; listing a model here tests its family."""

from functools import partial

import pytest
import timm
import torch
import torch_pruning
from timm.layers import Attention, GroupNorm
from timm.models import register_model
from torch import nn

from intarsia import FitError, Keep, Plan, PlanError, Rule, Skip, draw, price, resolve, rig
from intarsia.hosts import timm_supernet
from intarsia.hosts.timm_units import units_of
from intarsia.plan import cost
from intarsia.plan.text import read_plan, write_plan
from tests.factory.conftest import apart, parts_of, speaking

FAMILIES = {
    "resnet10t": {},  # BasicBlock
    "test_resnet": {"layers": (2, 2, 2, 2)},  # both kinds of ResNet blocks, with and without a layer around them
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "test_efficientnet": {},  # EdgeResidual, and InvertedResidual with squeezes
    "test_convnext": {},  # linear MLPs
    "test_convnext2": {"use_grn": False, "conv_mlp": True},  # MLPs of 1x1 convolutions
    "test_vit": {"img_size": 32},
    "gated_vit": {"img_size": 32},
    "anchor_free_detector": {"backbone": "test_efficientnet", "levels": (2, 3, 4), "width": 16},
}
CLASSES = 7


@register_model
def gated_vit(**arguments):
    """Its attention is multiplied by what is made from its input beside queries, keys and values."""
    model = timm.create_model("test_vit", **arguments)
    for block in model.blocks:
        block.attn = Attention(model.embed_dim, block.attn.num_heads, qkv_bias=True, gated=True)
    return model


def stirred(architecture):
    """A supernet in which nothing is near 0 or 1: fresh layer scales and statistics, or boxes, would hide mistakes."""
    arguments = {"num_classes": CLASSES, **FAMILIES[architecture]}
    torch.manual_seed(0)
    host = speaking(timm_supernet.create(architecture, (3, 32, 32), **arguments))
    for name, value in (*host.module.named_parameters(), *host.module.named_buffers()):
        if value.ndim == 1:
            factor = name.endswith(("weight", "var"))  # of a norm
            value.copy_(torch.rand_like(value) + 0.5 if factor else torch.randn_like(value) * 0.5)
    return host


@pytest.fixture(scope="module", params=FAMILIES)
def host(request):
    return stirred(request.param)


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_blocks_that_end_otherwise_than_in_a_relu_stay():
    other = timm_supernet.create("test_resnet", (3, 32, 32), num_classes=CLASSES, layers=(2, 2, 2, 2), act_layer="silu")
    assert stirred("test_resnet").blocks
    assert not other.blocks, "a shut block passes its input, which is another than its activation"


def chosen(host, seed):
    """Random units of every site, and blocks left out; seed 0 keeps one of each, seed 1 all, seed 2 no block."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for site in host.outline.sites:
        if site.path in host.blocks:
            left_out = seed == 2 or (seed > 2 and bool(torch.randint(2, (), generator=generator)))
            kept |= {path: () for path in (site.path, *site.parts) if left_out}
        if site.units and site.path not in kept:
            most = {0: 1, 1: site.units}.get(seed, int(torch.randint(1, site.units + 1, (), generator=generator)))
            kept[site.path] = tuple(sorted(torch.randperm(site.units, generator=generator)[:most].tolist()))
    return kept


def plan_of(host, kept):
    rules = [Rule("0", path, Keep(units)) for path, units in kept.items() if units]
    return Plan(1, (*rules, *(Rule("0", path, Skip()) for path in host.blocks if not kept[path])))


def masks_of(host, kept):
    units = {site.path: site.units for site in host.outline.sites}
    return {
        path: torch.zeros(units[path]).index_fill(0, torch.tensor(kept[path], dtype=int), 1.0) for path in host.gates
    }


def near(host, found, wanted):
    """Within 1e-5 of the size of the answers."""
    return max(apart(host, found, wanted)) <= 1e-5


def far(host, found, wanted):
    """Other answers: a detector's boxes are, and what it says of names is."""
    return min(apart(host, found, wanted)) > 1e-3


def asked(host, answered, kept):
    """The answers that are kept, after what is answered in any case: a detector's boxes."""
    *always, named = parts_of(host, answered)
    return torch.cat([*always, named[..., kept[host.answers]]], -1)


def test_answers_depend_on_the_picture(host, pictures):
    """For constants all that follows would hold, whatever is cut."""
    first, second, _ = host.module(pictures)
    assert far(host, first, second)


@pytest.mark.parametrize("seed", range(5))
def test_baked_answers_as_gated(host, pictures, seed):
    kept = chosen(host, seed)
    baked, lineage = rig.bake(plan_of(host, kept), host)
    with rig.gated(host, masks_of(host, kept)):
        gated = asked(host, host.module(pictures), kept)
    assert near(host, baked(pictures), gated)
    assert near(host, baked(pictures[:1]), gated[:1])
    if seed != 1:
        assert far(host, asked(host, host.module(pictures), kept), gated)
        assert lineage.slices
    theirs = {type(module) for module in host.module.modules()}
    assert {type(module) for module in baked.modules()} <= theirs | {nn.Identity}
    assert not any(module._forward_pre_hooks for module in (*baked.modules(), *host.module.modules()))


@pytest.mark.parametrize("seed", range(2, 8))
def test_costs_are_predicted_to_the_unit(host, seed):
    kept = chosen(host, seed)
    plan = plan_of(host, kept)
    baked, _ = rig.bake(plan, host)
    predicted = cost(host.outline, {path: len(units) for path, units in kept.items()})
    with rig.count_macs() as counted:
        baked(torch.zeros(1, 3, 32, 32))
    assert predicted.macs == counted.total == price(resolve(plan, host.outline)).total
    assert predicted.params == sum(value.numel() for value in baked.parameters())
    assert predicted.bytes == sum(value.numel() * value.element_size() for value in baked.state_dict().values())


def test_all_units_are_the_original_to_the_bit(host, pictures):
    wanted = host.module(pictures)
    with rig.gated(host, masks_of(host, chosen(host, 1))):
        assert torch.equal(host.module(pictures), wanted)
    for plan in (Plan(1), plan_of(host, chosen(host, 1))):
        baked, _ = rig.bake(plan, host)
        assert torch.equal(baked(pictures), wanted)
        theirs, ours = host.module.state_dict(), baked.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(value, ours[name]) for name, value in theirs.items())
        assert not {value.data_ptr() for value in baked.parameters()} & {
            value.data_ptr() for value in host.module.parameters()
        }
    with rig.count_macs() as counted:
        host.module(pictures[:1])
    assert counted.total == host.outline.macs


def test_each_sample_has_gates_of_its_own(host, pictures):
    first, second = chosen(host, 4), chosen(host, 3)
    both = {path: torch.stack([masks_of(host, one)[path] for one in (first, second)]) for path in host.gates}
    with rig.gated(host, both):
        together = host.module(pictures[:2])
    for row, kept in enumerate((first, second)):
        with rig.gated(host, masks_of(host, kept)):
            assert near(host, together[row], host.module(pictures[row : row + 1])[0])


def test_gates_are_gone_after_an_exception(host, pictures):
    wanted = host.module(pictures)
    with pytest.raises(KeyboardInterrupt), rig.gated(host, masks_of(host, chosen(host, 0))):
        raise KeyboardInterrupt
    assert torch.equal(host.module(pictures), wanted)


@pytest.mark.filterwarnings("ignore:Unwrapped parameters")
def test_slices_are_the_dependency_groups_of_torch_pruning(host):
    trainable = timm_supernet.create(host.architecture, host.size, **host.arguments)
    with torch.enable_grad():
        graph = torch_pruning.DependencyGraph().build_dependency(trainable.module, torch.randn(1, *host.size))
    names = {module: name for name, module in trainable.module.named_modules()}
    for path, site in trainable.units.items():
        if not site.gates:
            continue
        layer = trainable.module.get_submodule(path)
        linear = isinstance(layer, nn.Linear)
        prune = torch_pruning.prune_linear_out_channels if linear else torch_pruning.prune_conv_out_channels
        unit = list(range(site.width * (site.count - 1), site.width * site.count))
        theirs = {
            (names[item.dep.target.module], "in" if "in_channels" in item.dep.handler.__name__ else "out"): sorted(
                item.idxs
            )
            for item in graph.get_pruning_group(layer, prune, idxs=unit)
            if item.dep.target.module in names
        }
        channels = site.count * site.width
        ours = {
            (maker, "out"): [turn * channels + channel for turn in range(times) for channel in unit]
            for maker, times in site.makers
        }
        ours |= {(reader, "in"): unit for reader in site.readers}
        assert theirs == ours


def test_plans_that_keep_survive_their_files(host):
    plan = plan_of(host, chosen(host, 4))
    assert read_plan(write_plan(plan)) == plan
    drawn = draw(resolve(plan, host.outline))
    assert f"{len(plan.rules[0].do.units)} of" in drawn


@pytest.mark.parametrize(
    ("architecture", "arguments", "path", "reason"),
    [
        ("test_vit", {"scale_mlp_norm": True}, "blocks.0.mlp", "LayerNorm over the gated axis"),
        ("test_vit", {"scale_attn_norm": True}, "blocks.0.attn", "LayerNorm over the gated axis"),
        ("test_resnet", {"norm_layer": partial(GroupNorm, num_groups=4)}, "layer1.0", "GroupNorm over the gated axis"),
        ("test_convnext3", {"use_grn": True}, "stages.0.blocks.0.mlp", "GlobalResponseNorm over the gated axis"),
        ("resnext50_32x4d", {"layers": (1, 1, 1, 1)}, "layer1.0", "a convolution of 32 groups"),
        ("test_efficientnet", {}, "blocks.0.0", "the residual stream's own"),
    ],
)
def test_what_cannot_be_sliced_exactly_stays_whole_and_says_why(architecture, arguments, path, reason):
    model = timm.create_model(architecture, num_classes=CLASSES, **arguments)
    try:
        whole = timm_supernet.TimmSupernet(model, (3, 32, 32)).whole
    except FitError as refusal:
        assert "no units are found" in str(refusal)
        whole = units_of(model, 8)[1]
    assert reason in whole[path]


@pytest.mark.parametrize(
    ("architecture", "arguments", "blocks"),
    [
        ("test_convnext3", {"use_grn": True}, ["stages.0.blocks.0", "stages.1.blocks.0"]),  # all that can be left out
        ("naflexvit_base_patch16_gap", {"embed_dim": 32, "depth": 2, "num_heads": 2}, []),  # told more than an input
        ("test_vit", {"img_size": 32}, ["blocks.0", "blocks.1"]),
    ],
)
def test_blocks_that_can_be_left_out(architecture, arguments, blocks):
    host = timm_supernet.create(architecture, (3, 32, 32), num_classes=CLASSES, **arguments)
    assert [path for path in host.blocks if path in blocks] == blocks
    assert bool(host.blocks) == bool(blocks)


def test_refusals(pictures):
    resnet = stirred("test_resnet")
    with pytest.raises(FitError, match=r"'layer2.0' has no units to keep"):
        resolve(Plan(1, (Rule("0", "layer2.0", Keep((0,))),)), resnet.outline)
    with pytest.raises(FitError, match="cannot be skipped"):
        rig.bake(Plan(1, (Rule("0", "layer2.0", Skip()),)), resnet)
    host = stirred("test_vit")
    with pytest.raises(FitError, match="has no unit 9: they are 0 to 1"):
        resolve(Plan(1, (Rule("0", "blocks.0.attn.qkv", Keep((0, 9))),)), host.outline)
    with pytest.raises(FitError, match="'keep' is for plans of one row"):
        resolve(Plan(2, (Rule("0", "blocks.0.attn.qkv", Keep((0,))),)), host.outline)
    with pytest.raises(PlanError, match="at least one"):
        Keep(())
    with pytest.raises(PlanError, match="ascending"):
        Keep((2, 1))
    with pytest.raises(FitError, match="has no gate"), rig.gated(host, {"head": torch.ones(CLASSES)}):
        pass
    with pytest.raises(FitError, match="the site has 2 units"), rig.gated(host, {"blocks.0.attn.qkv": torch.ones(3)}):
        pass
    with pytest.raises(FitError, match="timm has no model 'resnet1O'"):
        timm_supernet.create("resnet1O", (3, 32, 32))
