"""The laws hold for every host and every planner; listing a new one tests it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from intarsia import rig
from intarsia.hosts import pico
from intarsia.lighten import PLANNERS

ROWS = 7
TINY = {
    "block_out_channels": (16, 16), "sample_size": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A host under test: how to make it, and inputs for one call at a time step."""

    name: str
    make: Callable
    changes: dict


CASES = (
    Case("sd-1", pico.host, {}),
    Case("three levels", pico.host, {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    }),
    Case("sd-2", pico.host, {"use_linear_projection": True, "attention_head_dim": (2, 4, 4, 4)}),
    Case("sd-xl", pico.host, {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 40, "use_linear_projection": True,
    }),
    Case("no mid block", pico.host, {"mid_block_type": None}),
    Case("uneven", pico.host, {"layers_per_block": (1, 2, 3, 2)}),
)  # fmt: skip


def inputs_of(host, time, seed=0, batch=2, **size):
    """Real tensors of the shapes that the host asks for."""
    generator = torch.Generator().manual_seed(seed)

    def real(value):
        if isinstance(value, dict):
            return {key: real(inner) for key, inner in value.items()}
        return torch.randn(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(time)

    return {key: real(value) for key, value in host.inputs(batch=batch, tokens=pico.TOKENS, **size).items()}


def run_through(host, rows=ROWS):
    """The outputs of one run: falling time steps, a new sample each."""
    times = [1000 - 100 * row for row in range(rows)]
    return [host.module(**inputs_of(host, time, seed=time)).sample for time in times]


def plans_for(host):
    """Every example of every planner that this host has the sites for."""
    paths = {site.path for site in host.outline.sites}
    from intarsia.plan.pattern import sites_of

    for planner in PLANNERS:
        for example in planner.examples:
            names = example.get("sites", "").split("|")
            if all(sites_of(name, sorted(paths)) for name in names):
                yield planner.make(ROWS, **example)


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.name)
def host(request):
    made = request.param.make(**request.param.changes)
    made.outline = rig.outline_of(made, batch=2, tokens=pico.TOKENS)
    return made


@pytest.fixture(scope="session")
def tiny():
    """The smallest host of all, for what is asked very often."""
    made = pico.host(**TINY)
    made.outline = rig.outline_of(made, tokens=pico.TOKENS)
    return made


@pytest.fixture(scope="session")
def plans(host):
    found = list(plans_for(host))
    assert len(found) >= 4
    return found


@pytest.fixture(scope="session")
def whole(host):
    return run_through(host)
