"""What no unit is in is told too, wherever it costs anything to speak of."""

import pytest
import torch

from intarsia.hosts import timm_supernet
from intarsia.hosts.timm_whole import REAL, unfollowed
from intarsia.rig.outlining import module_macs

FOLLOWED = {"num_classes": 7}
SMALL = {"img_size": 32, "depth": 2, **FOLLOWED}


@pytest.mark.parametrize(
    ("architecture", "size", "arguments", "path", "kind"),
    [
        ("test_maxvit", 160, FOLLOWED, "stages.0.blocks.0.conv", "MbConvBlock"),
        ("test_maxvit", 160, FOLLOWED, "stages.3.blocks.0.attn_grid.attn", "AttentionCl"),
        ("cait_xxs24_224", 32, SMALL, "blocks.1.attn", "TalkingHeadAttn"),
        ("xcit_nano_12_p16_224", 32, SMALL, "blocks.0.attn", "XCA"),
        ("mobilenetv3_small_050", 32, FOLLOWED, "conv_head", "Conv2d"),
        ("test_resnet", 32, FOLLOWED, "layer2.0.downsample.1", "Conv2d"),
        ("anchor_free_detector", 64, {"backbone": "test_efficientnet", "width": 16, **FOLLOWED}, "reach", "Conv2d"),
    ],
)
def test_what_is_not_followed_says_so_and_what_share_such_have(architecture, size, arguments, path, kind):
    with torch.enable_grad():  # as for anyone who does not turn it off
        host = timm_supernet.create(architecture, (3, size, size), **arguments)
    assert host.whole[path].startswith(f"{kind}, which we do not follow; all such have ")
    inside = {layer for site in host.units.values() for layer, _ in site.makers}
    assert not any(layer == told or layer.startswith(f"{told}.") for layer in inside for told in host.whole)
    assert not any(one.startswith(f"{other}.") for one in host.whole for other in host.whole)


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("test_maxvit", {}), ("test_vit", {"img_size": 160}), ("test_efficientnet", {})]
)
def test_all_that_costs_is_a_unit_or_told(architecture, arguments):
    host = timm_supernet.create(architecture, (3, 160, 160), **FOLLOWED, **arguments)
    layers = {layer for site in host.units.values() for layer in (*dict(site.makers), *site.readers)}
    heads = {site.attention for site in host.units.values() if site.attention is not None}
    outer = {one for one in {*layers, *heads, *host.whole} if not any(one.startswith(f"{head}.") for head in heads)}
    macs = module_macs(host.module, host.inputs(), ("", *outer))
    assert sum(macs[path] for path in outer) == pytest.approx(macs[""], rel=REAL)


def test_what_is_told_already_or_costs_next_to_nothing_is_not_told():
    host = timm_supernet.create("test_vit", (3, 32, 32), img_size=32, **FOLLOWED)
    assert list(host.whole) == ["patch_embed"]
    assert unfollowed(host.module, host.inputs(), host.units.values(), ["patch_embed"]) == {}
    wide = timm_supernet.create("test_vit", (1, 32, 32), img_size=32, embed_dim=512, in_chans=1, **FOLLOWED)
    assert wide.whole == {}
