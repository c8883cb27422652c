"""The six things that diffusers tests of a model that can cache, asked of a UNet with a plan as its cache.

They are `CacheTesterMixin` of diffusers' `tests/models/testing_utils/cache.py` (Apache 2.0), which no wheel of theirs
holds, in our words and nowhere weaker; the model's sizes and inputs are those of their `UNet2DConditionTesterConfig`.
"""

import pytest
import torch

from intarsia.hosts.cached_unet import PLAN_HOOK, CachedUNet
from intarsia.lighten import inherit

PLAN = inherit(10, every=3, sites="up_blocks.0")
SIZES = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "block_out_channels": (4, 8), "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 4,
}  # fmt: skip


@pytest.fixture
def model():
    """As theirs is made: of random weights, and in training mode until a test says otherwise."""
    torch.manual_seed(0)
    return CachedUNet(**SIZES)


@pytest.fixture
def given():
    """Four samples at one time step, which does not change from call to call."""
    generator = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(4, 4, 16, 16, generator=generator),
        "timestep": torch.tensor([10]),
        "encoder_hidden_states": torch.randn(4, 4, 8, generator=generator),
    }


def hooks(model):
    """The modules that our hook is registered on."""
    registries = [getattr(module, "_diffusers_hook", None) for module in model.modules()]
    return [registry for registry in registries if registry is not None and registry.get_hook(PLAN_HOOK) is not None]


def other(given):
    """The same call with another sample."""
    return given | {"sample": given["sample"] + torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(1))}


def test_the_state_says_whether_a_cache_is_enabled(model):
    """`_test_cache_enable_disable_state`."""
    assert model.is_cache_enabled is False
    model.enable_cache(PLAN)
    assert model.is_cache_enabled is True
    model.disable_cache()
    assert model.is_cache_enabled is False


def test_a_second_cache_is_refused(model, given):
    """`_test_cache_double_enable_raises_error`; and the first one goes on."""
    model.eval().enable_cache(PLAN)
    model(**given)
    with pytest.raises(ValueError, match="Caching has already been enabled"):
        model.enable_cache(PLAN)
    assert model.is_cache_enabled
    assert len(hooks(model)) == 1
    told = model(**other(given), return_dict=False)[0]
    model.disable_cache()
    assert not torch.allclose(told, model(**other(given), return_dict=False)[0], atol=1e-5)


def test_hooks_are_registered_and_all_removed(model):
    """`_test_cache_hooks_registered`; and no module keeps a forward or a hook of torch's."""
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    model.enable_cache(PLAN)
    assert len(hooks(model)) == 1
    model.disable_cache()
    assert hooks(model) == []
    for name, module in model.named_modules():
        assert set(module.__dict__) - before[name] <= {"_diffusers_hook", "_cache_config"}
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_second_call_is_told_by_the_first(model, given):
    """`_test_cache_inference`: finite, and not what the model alone would say, at an equal time step."""
    model.eval()
    whole, other_whole = (model(**call, return_dict=False)[0] for call in (given, other(given)))
    model.enable_cache(PLAN)
    first = model(**given, return_dict=False)[0]
    told = model(**other(given), return_dict=False)[0]
    model.disable_cache()
    assert torch.equal(first, whole)
    assert told.isfinite().all()
    assert not torch.allclose(told, other_whole, atol=1e-5)
    assert torch.equal(model(**other(given), return_dict=False)[0], other_whole)


def test_contexts_do_not_hear_of_each_other(model, given):
    """`_test_cache_context_manager`: the first call of a context is computed whole, to the bit."""
    model.eval()
    whole, other_whole = (model(**call, return_dict=False)[0] for call in (given, other(given)))
    model.enable_cache(PLAN)
    for name, call, expected in (("context_1", given, whole), ("context_2", other(given), other_whole)):
        with model.cache_context(name):
            assert torch.equal(model(**call, return_dict=False)[0], expected)
    with model.cache_context("context_1"):
        assert not torch.allclose(model(**other(given), return_dict=False)[0], other_whole, atol=1e-5)
    model.disable_cache()


def test_a_reset_forgets(model, given):
    """`_test_reset_stateful_cache`: it can be called in mid-run; and what comes next is computed whole."""
    model.eval()
    other_whole = model(**other(given), return_dict=False)[0]
    model.enable_cache(PLAN)
    model(**given)
    model._reset_stateful_cache()
    assert torch.equal(model(**other(given), return_dict=False)[0], other_whole)
    model.disable_cache()
