"""The planner that looks: its algebra is right, its program is exact, its plans beat those that do not look."""

import itertools

import numpy as np
import pytest
import torch

from intarsia import PlanError, hosts, price, resolve, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.lighten import search as looking

ROWS = 8


@pytest.fixture(scope="module")
def watched():
    """Invented answers: a curve in twelve dimensions, and rows that matter more or less."""
    generator = np.random.default_rng(0)
    answers = np.cumsum(np.cumsum(generator.normal(size=(ROWS, 12)), 0), 0)
    return looking.Watched("up_blocks.2", answers @ answers.T, generator.uniform(0.5, 2, ROWS))


def answers_of(watched):
    """Vectors with this Gram matrix."""
    values, vectors = np.linalg.eigh(watched.gram)
    return vectors * np.sqrt(np.clip(values, 0, None))


@pytest.mark.parametrize("computed", [[3], [3, 1], [3, 1, 0]])
def test_told_weights_are_least_squares(watched, computed):
    answers = answers_of(watched)
    weights, left = watched.told(5, computed)
    told = weights @ answers[computed]
    assert left == pytest.approx(np.square(told - answers[5]).sum(), rel=1e-6)
    best = np.linalg.lstsq(answers[computed].T, answers[5], rcond=None)[0]
    assert left <= 1.02 * np.square(best @ answers[computed] - answers[5]).sum() + 1e-3 * watched.gram[5, 5]


def cost(watched, keys, depth):
    """The weighted error of a choice of keys, by definition."""
    total = 0.0
    for row in set(range(ROWS)) - set(keys):
        computed = sorted((key for key in keys if key < row), reverse=True)[:depth]
        total += watched.weight[row] * watched.told(row, computed)[1]
    return total


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("count", range(1, ROWS + 1))
def test_the_program_is_exact(watched, count, depth):
    chosen = looking.choose_keys(watched, count, depth)
    every = [(0, *others) for others in itertools.combinations(range(1, ROWS), count - 1)]
    assert len(chosen) == count
    assert cost(watched, chosen, depth) == pytest.approx(min(cost(watched, keys, depth) for keys in every))


@pytest.fixture(scope="module")
def drawing():
    pipe = pico.pipeline()

    def run(seed=0):
        return pipe(
            **pico.prompt(seed, 2), num_inference_steps=12, output_type="latent", guidance_scale=3.0,
            generator=torch.Generator().manual_seed(seed),
        ).images  # fmt: skip

    return hosts.of(pipe.unet), run


@pytest.mark.parametrize("ratio", [0.5, 0.7])
def test_a_search_keeps_its_budget_and_beats_holding(drawing, ratio):
    host, run = drawing
    found = looking.search(host, "up_blocks.3.layers.1", run, 12, ratio)
    assert found.bill.macs_ratio <= ratio
    assert found.bill.macs_ratio > ratio - 0.1
    assert resolve(found.plan, host.outline)
    whole = run(9)

    def distance(plan):
        with rig.applied(plan, host):
            return float((run(9) - whole).square().mean())

    computed = found.plan.made_by["computed"]
    spread = sorted({round(place * 12 / computed) for place in range(computed)})
    held = inherit(12, keys=spread, sites="up_blocks.3.layers.1")
    assert price(resolve(held, host.outline)).macs_ratio == pytest.approx(found.bill.macs_ratio)
    assert distance(found.plan) < distance(held)


def test_the_best_of_several_sites_is_found(drawing):
    host, run = drawing
    sites = ["up_blocks.3.layers.1", "up_blocks.3.layers.0", "up_blocks.1"]
    found = looking.search_among(host, sites, run, 12, 0.5)
    nearest = min(found.tried, key=lambda name: found.tried[name])
    assert nearest.startswith(found.plan.rules[0].sites)
    assert found.bill.macs_ratio <= 0.5
    with pytest.raises(PlanError, match="at the least"):
        looking.search_among(host, ["up_blocks.1"], run, 12, 0.1)


def test_refusals(drawing):
    host, run = drawing
    with pytest.raises(PlanError, match=r"at the least, more than the 10\.0% asked for"):
        looking.search(host, "up_blocks.1", run, 12, 0.1)
    with pytest.raises(PlanError, match="hands on 3 features"):
        looking.search(host, "down_blocks.1", run, 12, 0.9)
    with pytest.raises(PlanError, match="the run made 12 calls of the model, not 9"):
        looking.search(host, "up_blocks.2", run, 9, 0.7)
