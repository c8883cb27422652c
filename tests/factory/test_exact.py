"""Models with whole blocks left out: baked answers as gated, and after a file and ONNX too, for every family."""

import dataclasses
import itertools
import json

import pytest
import torch

from intarsia import factory, rig
from intarsia.factory.cuts import by_site, masks_of
from intarsia.graphs.backends import BACKENDS

from .conftest import apart, kit_of

FAMILIES = {
    "resnet10t": {},
    "test_resnet": {"layers": (2, 2, 2, 2)},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "test_efficientnet": {"depth_multiplier": 2.0},
    "test_convnext": {},
    "test_convnext2": {"use_grn": False, "conv_mlp": True},
    "test_vit": {"img_size": 32},
}
SHARE = 0.3  # of the MACs that can be left out at all


@pytest.fixture(scope="module", params=itertools.product(FAMILIES, (False, True)), ids=str)
def stirred(request):
    """A kit whose norms differ from channel to channel, and the same with its norms folded."""
    family, fold = request.param
    kit = kit_of(family, **FAMILIES[family])
    for name, value in (*kit.host.module.named_parameters(), *kit.host.module.named_buffers()):
        if value.ndim == 1:
            scales = name.endswith(("var", "weight"))
            value.copy_(torch.rand_like(value) + 0.5 if scales else torch.randn_like(value) * 0.5)
    return dataclasses.replace(factory.folded(kit) if fold else kit, lowest=kit.grounds.floor)


def test_a_block_is_left_out_exactly_wherever_the_model_goes(stirred, tmp_path):
    kit, task = stirred, stirred.space.read("pink, cool")

    def near(found, wanted):
        return max(apart(kit.host, found, wanted)) <= 1e-5

    macs = (kit.lowest + SHARE * (1 - kit.lowest)) * kit.host.outline.macs
    order = factory.Order(task, factory.Budget(macs=macs))
    done = factory.fulfil(order, kit)
    factory.ship(order, done, kit, tmp_path / "out", ["onnx"])
    gone = json.loads((tmp_path / "out/recipe.json").read_text())["leave_out"]
    assert gone
    assert set(gone) < set(kit.host.blocks) or len(kit.host.blocks) == 1

    pictures, ranking = torch.randn(2, 3, 32, 32), kit.assembler.rank([task], kit.grounds)[0]
    masks = masks_of([ranking], [ranking.cut(ranking.costs["macs"] <= macs)]).expand(2, -1)
    with rig.gated(kit.host, by_site(kit.grounds, masks)):
        gated = kit.host.module(pictures)[:, list(task.answers)]
    assert not near(kit.host.module(pictures)[:, list(task.answers)], gated)
    rebuilt = factory.rebuild(tmp_path / "out").model
    session = BACKENDS["onnx"].ready(tmp_path / "out/model.onnx", torch.float32)
    for answers in (done.model(pictures), rebuilt(pictures), torch.cat([session([one[None]])[0] for one in pictures])):
        assert near(answers, gated)
    assert torch.equal(rebuilt(pictures), done.model(pictures))
    for block in gone:
        assert not list(rebuilt.get_submodule(block).parameters())
