"""A pipeline's offloading is taken off and put on again as each run ends, and plans stay."""

import pytest
import torch

from intarsia import hosts, rig
from intarsia.graphs import applied_as_graphs
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.lighten.switch import switch

STEPS = 4
GRAPHS = {}  # made once
SMALL = pico.host(layers_per_block=1)
WAYS = {
    "features": lambda host: rig.applied(inherit(STEPS, every=2, sites="up_blocks.2"), host),
    "another model": lambda host: rig.applied(
        switch(STEPS, {"small": [1, 2]}) | inherit(STEPS, keys=(0,), sites="up_blocks.2"), host, others={"small": SMALL}
    ),
    "graphs": lambda host: applied_as_graphs(inherit(STEPS, every=2, sites="up_blocks.2"), host, "torch", ready=GRAPHS),
}


def draw(pipe, seed):
    return pipe(
        **pico.prompt(), num_inference_steps=STEPS, output_type="latent", generator=torch.Generator().manual_seed(seed)
    ).images


def drawn(way, offloaded=None):
    """Three pictures under a plan, the first and the last alike."""
    pipe = pico.pipeline()
    whole = draw(pipe, 0)
    if offloaded == "before":
        pipe.enable_model_cpu_offload(device="cpu")
    with WAYS[way](hosts.of(pipe.unet)):
        pictures = [draw(pipe, 0)]
        if offloaded == "within":
            pipe.enable_model_cpu_offload(device="cpu")
        pictures += [draw(pipe, seed) for seed in (1, 0)]
    assert torch.equal(pictures[2], pictures[0])
    assert not torch.equal(pictures[0], whole)
    assert torch.equal(draw(pipe, 0), whole)
    assert ("_old_forward" in pipe.unet.__dict__) == (offloaded is not None)
    pipe.remove_all_hooks()
    assert torch.equal(draw(pipe, 0), whole)
    return pictures


@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("way", ["features", "another model", pytest.param("graphs", marks=pytest.mark.slow)])
def test_pictures_in_a_row_are_as_without_offloading(way, when):
    for one, other in zip(drawn(way, when), drawn(way), strict=True):
        assert torch.equal(one, other)


def test_offloading_that_ends_under_a_plan():
    pipe = pico.pipeline()
    whole = draw(pipe, 0)
    pipe.enable_model_cpu_offload(device="cpu")
    with WAYS["another model"](hosts.of(pipe.unet)):
        planned = draw(pipe, 0)
        pipe.remove_all_hooks()
        assert torch.equal(draw(pipe, 0), planned)
    assert torch.equal(draw(pipe, 0), whole)
