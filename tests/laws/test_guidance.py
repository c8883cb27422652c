"""What guidance's two halves have in common may be computed once, and nobody can tell."""

import pytest
import torch

from intarsia import RigError, rig
from intarsia.hosts import pico
from intarsia.lighten import branch_site, inherit

from .conftest import ROWS
from .test_applied import attributes

FAMILY = {"SD 1": {}, "words in time": {"addition_embed_type": "text", "addition_embed_type_num_heads": 2}}


def guided(host, halves_alike=True):
    """A call with guidance in one batch: one noisy sample, two prompts."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1 if halves_alike else 2, 4, 16, 16, generator=generator).expand(2, -1, -1, -1)
    words = torch.randn(2, pico.TOKENS, pico.WIDTH, generator=generator)
    return {"sample": sample, "encoder_hidden_states": words}


def run(host, call):
    return [host.module(**call, timestep=900 - row, return_dict=False)[0] for row in range(ROWS)]


@pytest.mark.parametrize("branch", [0, 2])
@pytest.mark.parametrize("halves_alike", [True, False])
@pytest.mark.parametrize("family", FAMILY)
def test_answers_are_those_of_the_whole_batch(family, halves_alike, branch):
    host = pico.host(**FAMILY[family])
    call, plan = guided(host, halves_alike), inherit(ROWS, every=2, sites=branch_site(host.outline, branch))
    with rig.applied(plan, host):
        expected = run(host, call)
    with rig.guidance_shared(host), rig.applied(plan, host):
        found = run(host, call)
    torch.testing.assert_close(found, expected)


def test_half_of_what_comes_before_words_is_saved():
    host = pico.host()
    with rig.count_macs() as whole:
        host.module(**guided(host), timestep=900)
    parts = [host.module.get_submodule(path) for path in host.before_words()]
    assert len(parts) == 4, "conv_in, a resnet, the way into its attention, and self-attention"
    saved = [0] * len(parts)

    def meter(number, forward):
        def metered(*args, **kwargs):
            with rig.count_macs() as macs:
                found = forward(*args, **kwargs)
            saved[number] = macs.total // 2
            return found

        return metered

    for number, part in enumerate(parts):
        part.forward = meter(number, part.forward)
    host.module(**guided(host), timestep=900)
    for part in parts:
        del part.forward
    with rig.guidance_shared(host), rig.count_macs() as shared:
        host.module(**guided(host), timestep=900)
    with rig.guidance_shared(host), rig.count_macs() as unlike:
        host.module(**guided(host, halves_alike=False), timestep=900)
    assert min(saved) > 0
    assert shared.total == whole.total - sum(saved)
    assert unlike.total == whole.total


def test_leaving_restores_everything():
    host = pico.host()
    before = attributes(host.module)
    with rig.guidance_shared(host):
        host.module(**guided(host), timestep=900)
        assert attributes(host.module) != before
    assert attributes(host.module) == before


def test_it_comes_before_the_plan(pico_host):
    plan = inherit(ROWS, every=2, sites=branch_site(pico_host.outline, 0))
    with (
        rig.applied(plan, pico_host),
        pytest.raises(RigError, match="under a plan already: enter"),
        rig.guidance_shared(pico_host),
    ):
        pass
