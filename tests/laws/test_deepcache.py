"""DeepCache 0.1.1 as an oracle: the same pictures to the bit, with a fraction of its memory."""

import pytest
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from intarsia import hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import branch_site, inherit

STEPS = 10


def latents(pipe):
    return pipe(
        **pico.prompt(), num_inference_steps=STEPS, guidance_scale=3.0, output_type="latent",
        generator=torch.Generator().manual_seed(1),
    ).images  # fmt: skip


CASES = [(branch, every, DDIMScheduler) for branch in range(12) for every in (2, 3, 5)]
CASES += [(branch, 3, EulerDiscreteScheduler) for branch in range(0, 12, 3)]


@pytest.mark.filterwarnings("ignore:.*clip_sample.*")
@pytest.mark.parametrize(("branch", "every", "scheduler"), CASES)
def test_inherit_is_deepcache_to_the_bit(branch, every, scheduler):
    settings = {"clip_sample": False} if scheduler is DDIMScheduler else {}
    pipe = pico.pipeline(scheduler=scheduler(steps_offset=1, **settings))
    theirs = DeepCacheSDHelper(pipe=pipe)
    theirs.set_params(cache_interval=every, cache_branch_id=branch)
    theirs.enable()
    expected = latents(pipe)
    their_bytes = sum(
        tensor.numel() * tensor.element_size()
        for output in theirs.cached_output.values()
        for tensor in (
            [output] if isinstance(output, torch.Tensor) else [t for t in output if isinstance(t, torch.Tensor)]
        )
    )
    theirs.disable()

    host = hosts.of(pipe.unet)
    plan = inherit(STEPS, every=every, sites=branch_site(host.outline, branch))
    kept = []
    with rig.applied(plan, host) as live:
        handle = host.module.register_forward_hook(lambda *_: kept.append(live.remembered_bytes))
        found = latents(pipe)
        handle.remove()
    assert torch.equal(found, expected)
    inherited = host.outline.by_path[branch_site(host.outline, branch)]
    source = inherited.parts[-1] if inherited.parts and inherited.level != "unit" else inherited.path
    assert max(kept) == 2 * host.outline.by_path[source].output_bytes  # both halves of guidance, one feature
    assert max(kept) < 0.15 * their_bytes
