"""What benchmarks set beside modules: heard inside their block, together too, and gone after it."""

import pytest
import torch

from intarsia.hosts import pico
from recipes.modules.rivals import Adapter, Rivalry, Way, attached

from .conftest import FEATURES, draw, make_carrier, seen


@pytest.mark.parametrize("way", list(Way))
def test_a_rival_is_heard_and_leaves_nothing(way):
    pipe, carrier = pico.pipeline(), make_carrier()
    stock, before = draw(pipe, carrier), set(pipe.unet.state_dict())
    torch.manual_seed(0)
    adapters = {name: Adapter(way, FEATURES.width, pipe.unet) for name in ("style", "palette")}

    def shown(style, palette):
        with attached(pipe, adapters, {"style": seen(1, seed=style), "palette": seen(1, seed=palette)}):
            return draw(pipe, carrier)

    first = shown(1, 1)
    assert torch.equal(shown(1, 1), first)
    assert not torch.equal(first, stock)
    assert not torch.equal(shown(2, 1), first)
    assert not torch.equal(shown(1, 2), first)
    assert torch.equal(draw(pipe, carrier), stock)
    assert set(pipe.unet.state_dict()) == before
    assert pipe.unet.config.encoder_hid_dim_type is None


@pytest.mark.parametrize("way", list(Way))
def test_only_the_rival_learns(way):
    unet = pico.unet()
    rivalry = Rivalry("style", Adapter(way, FEATURES.width, unet), unet)
    torch.manual_seed(0)
    with torch.enable_grad():
        words = torch.randn(4, pico.TOKENS, pico.WIDTH)
        rivalry((torch.randn(4, 4, 16, 16), words, {"style": seen(4)}))["loss"].backward()
    assert all(value.grad is not None for value in rivalry.parameters())
    assert all(value.grad is None for value in unet.parameters())
