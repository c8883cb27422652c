"""The laws of switching between UNets."""

import copy
import re
from contextlib import contextmanager
from itertools import combinations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler

from intarsia import FitError, Plan, PlanError, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.lighten.switch import (
    ORDERS,
    Sensitivity,
    cheapest_harm,
    first,
    sampler_steps,
    search_switch,
    sensitivity_of,
    switch,
)
from intarsia.plan import price, resolve
from intarsia.rig.answering import first_tensor
from tests.laws.conftest import ROWS, inputs_of, run_through


@pytest.fixture(scope="module")
def host():
    return hosts.of(pico.unet(), tokens=pico.TOKENS)


@pytest.fixture(scope="module")
def small(host):
    return hosts.of(rig.bake(Plan(1, (Rule("0", "pairs.*.1", Skip()),)), host)[0], tokens=pico.TOKENS)


@pytest.fixture(scope="module")
def other():
    return pico.host(seed=1)


@contextmanager
def counted(*modules):
    """How often these run inside the block."""
    calls = []
    handles = [module.register_forward_pre_hook(lambda *_: calls.append(1)) for module in modules]
    yield calls
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("count", range(ROWS + 1))
def test_a_model_and_its_twin_are_one(host, kind, count):
    plan = switch(ROWS, {"twin": ORDERS[kind](ROWS, count)})
    whole = run_through(host)
    with rig.applied(plan, host, others={"twin": pico.host()}) as live:
        assert all(torch.equal(one, two) for one, two in zip(run_through(host), whole, strict=True))
    assert sum(call.answered_by == "twin" for call in live.trace) == count


def test_who_answers_nothing_is_never_called(host, small):
    pieces = list(host.module.modules())[1:]
    with counted(*pieces) as whole:
        run_through(host, rows=1)
    for count in (0, 3, ROWS):
        plan = switch(ROWS, {"small": first(ROWS, count)})
        with (
            counted(small.module) as theirs,
            counted(*pieces) as ours,
            rig.applied(plan, host, others={"small": small}),
        ):
            found = run_through(host)
        assert len(theirs) == count
        assert len(ours) == (ROWS - count) * len(whole)
    # Answering every call, the other model alone is what is heard.
    assert all(torch.equal(one, two) for one, two in zip(found, run_through(small), strict=True))


def test_the_boundary_is_a_number_of_calls():
    """T-Stitch's two rules for the same share disagree by one call; here it is in the plan."""
    plan = switch(10, {"small": first(10, 4)})
    assert plan.rules[0].rows == "0:4"
    assert list(resolve(plan, pico.host().outline, ["small"]).answering) == ["small"] * 4 + [None] * 6
    assert plan.made_by["small"] == 4


def test_steps_of_several_calls_are_not_torn(host):
    for kind, chosen in ORDERS.items():
        for count in range(0, 20):
            rows = chosen(19, count, order=2)
            paired = [row for row in rows if row < 18]
            assert {row // 2 for row in paired if row % 2} == {row // 2 for row in paired if not row % 2}, kind
            assert len(rows) <= count + 1


def test_a_boundary_can_be_said_in_time_or_noise():
    scheduler = DDIMScheduler()
    row = hosts.first_row_below(scheduler, 20, time=500)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[row] <= 500 < scheduler.timesteps[row - 1]
    clean = hosts.first_row_below(scheduler, 20, snr=1.0)
    ratio = [float(scheduler.alphas_cumprod[t] / (1 - scheduler.alphas_cumprod[t])) for t in scheduler.timesteps]
    assert ratio[clean] >= 1 > ratio[clean - 1]
    assert hosts.first_row_below(HeunDiscreteScheduler(), 10, time=-1) == 19
    with pytest.raises(FitError, match="say either"):
        hosts.first_row_below(scheduler, 20)


def test_prices_add_up(host, small):
    bill = price(resolve(switch(ROWS, {"small": first(ROWS, 3)}), host.outline, ["small"]), {"small": small.outline})
    assert bill.macs == (small.outline.macs,) * 3 + (host.outline.macs,) * (ROWS - 3)


def test_it_goes_with_inheritance_and_both_are_metered(host, small):
    plan = inherit(ROWS, every=2, sites="up_blocks.2") | switch(ROWS, {"small": [5, 6]})
    bill = price(resolve(plan, host.outline, ["small"]), {"small": small.outline})
    metered = []
    with rig.applied(plan, host, others={"small": small}):
        for row in range(ROWS):
            with rig.count_macs() as macs:
                host.module(**inputs_of(host, 900 - row, batch=1))
            metered.append(macs.total)
    assert tuple(metered) == bill.macs


@pytest.mark.parametrize("answered", [[2], [4], [2, 4], [2, 3, 4], [1, 2, 3, 4]], ids=str)
def test_a_row_after_anothers_inherits_what_the_host_computed_last(host, small, answered):
    plan = inherit(ROWS, every=2, sites="up_blocks.2") | switch(ROWS, {"small": answered})
    with rig.applied(plan, host, others={"small": small}):
        found = run_through(host)
    kept, wanted = {}, []

    def by_hand(_module, _args, output):
        if row % 2 == 0:
            kept["last"] = output
        return kept["last"]

    handle = host.module.up_blocks[2].register_forward_hook(by_hand)
    for row, time in enumerate(range(1000, 1000 - 100 * ROWS, -100)):
        answering = small if row in answered else host
        wanted.append(answering.module(**inputs_of(host, time, seed=time)).sample)
    handle.remove()
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))


def test_of_several_others_each_answers_its_rows_and_no_more(host, small, other):
    plan, others = switch(ROWS, {"small": [0, 3], "other": [1, 5, 6]}), {"small": small, "other": other}
    with (
        counted(small.module) as of_small,
        counted(other.module) as of_other,
        rig.applied(plan, host, others=others) as live,
    ):
        found = run_through(host)
    assert [call.answered_by for call in live.trace] == ["small", "other", None, "small", None, "other", "other"]
    assert (len(of_small), len(of_other)) == (2, 3)
    alone = {"small": run_through(small), "other": run_through(other), None: run_through(host)}
    for row, call in enumerate(live.trace):
        assert [name for name in alone if torch.equal(found[row], alone[name][row])] == [call.answered_by]


def test_whoever_answers_a_pipeline_sees_its_own_unet(small):
    pipe = pico.pipeline()
    before = pipe.unet.config, pipe.unet.dtype, pipe.unet.device
    double = hosts.of(copy.deepcopy(small.module).double())
    seen = []

    def look(*_):
        seen.append((pipe.unet.config, pipe.unet.dtype, pipe.unet.device))
        return {}

    for answering in (double, small):
        assert (answering.module.config, answering.module.dtype) != before[:2]
        with rig.applied(switch(3, {"other": [0, 1]}), hosts.of(pipe.unet), others={"other": answering}) as live:
            look()
            if answering is small:
                pipe(**pico.prompt(), num_inference_steps=3, output_type="latent", callback_on_step_end=look)
        look()
    assert [call.answered_by for call in live.trace] == ["other", "other", None]
    assert seen == [before] * 7


def test_a_stranger_cannot_answer(host):
    wide = pico.host(cross_attention_dim=24)
    plan = switch(ROWS, {"wide": [0]})
    said = "'wide' cannot answer in this one's place: its cross_attention_dim is 24"
    with pytest.raises(FitError, match=said), rig.applied(plan, host, others={"wide": wide}):
        pass


def test_refusals():
    with pytest.raises(PlanError, match="by one model only"):
        switch(4, {"a": [0, 1], "b": [1]})
    with pytest.raises(PlanError, match="no row 4"):
        switch(4, {"a": [4]})
    with pytest.raises(PlanError, match="name a number from 0 to 4"):
        first(4, 5)


def test_the_program_is_exact():
    """Against every way there is of giving six rows to three models."""
    generator = np.random.default_rng(0)
    for _ in range(5):
        harm = generator.random((2, 6))
        costs, budget = [1.0, 0.5, 0.25], 3.0
        found = cheapest_harm(Sensitivity(("a", "b"), harm, sampler_steps(6)), costs, budget)
        table = np.vstack([np.zeros(6), harm])
        best = min(
            table[ways, range(6)].sum()
            for ways in np.ndindex(3, 3, 3, 3, 3, 3)
            if sum(costs[way] for way in ways) <= budget
        )
        place = {row: 1 + number for number, name in enumerate(("a", "b")) for row in found[name]}
        assert sum(table[place.get(row, 0), row] for row in range(6)) == pytest.approx(best)
        assert sum(costs[place.get(row, 0)] for row in range(6)) <= budget
    cost = 0.653  # of a call that no round number of parts makes up
    spent = cheapest_harm(Sensitivity(("a",), harm[:1], sampler_steps(6)), [1.0, cost], 4 + 2 * cost)
    assert len(spent["a"]) == 2
    with pytest.raises(PlanError, match="even the cheapest"):
        cheapest_harm(Sensitivity(("a",), harm[:1], sampler_steps(6)), [1.0, 0.5], 2.0)


def test_the_program_tears_no_step_of_heuns():
    steps = sampler_steps(19, order=2)
    assert [len(step) for step in steps] == [2] * 9 + [1]
    harm = np.random.default_rng(0).random((1, 10))
    for budget in (19.0, 16.5, 13.0, 9.5):
        rows = cheapest_harm(Sensitivity(("a",), harm, steps), [1.0, 0.5], budget)["a"]
        answered = [number for number, step in enumerate(steps) if step[0] in rows]
        assert rows == [row for number in answered for row in steps[number]]
        assert 19 - 0.5 * len(rows) <= budget
        least = min(
            harm[0, list(some)].sum()
            for count in range(11)
            for some in combinations(range(10), count)
            if 19 - 0.5 * sum(len(steps[number]) for number in some) <= budget
        )
        assert harm[0, answered].sum() == pytest.approx(least)


def test_the_search_stays_within_its_budget_and_takes_the_best(host, small):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 4, 16, 16, generator=generator)
    words = torch.randn(1, pico.TOKENS, pico.WIDTH, generator=generator)

    def run():
        sample = start
        for time in range(900, 200, -100):
            sample = sample - 0.2 * host.module(sample, time, words).sample
        return sample

    share = (0.5 * host.outline.macs + 0.5 * small.outline.macs) / host.outline.macs
    found = search_switch(host, {"small": small}, run, 7, share)
    assert set(found.tried) == {"searched", "small first", "small last", "small spread"}
    bill = price(resolve(found.plan, host.outline, ["small"]), {"small": small.outline})
    assert bill.macs_ratio <= share + 1e-9
    whole = run()
    with rig.applied(found.plan, host, others={"small": small}):
        assert float((run() - whole).double().square().mean()) == pytest.approx(min(found.tried.values()))


def test_the_search_tears_no_step_of_heuns(host, small):
    """Four steps of Heun's are seven calls; a search that looks at calls would answer one of a pair."""
    scheduler = HeunDiscreteScheduler()
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    words = torch.randn(1, pico.TOKENS, pico.WIDTH, generator=torch.Generator().manual_seed(1))

    def run():
        scheduler.set_timesteps(4)
        sample = start
        for time in scheduler.timesteps:
            given = scheduler.scale_model_input(sample, time)
            sample = scheduler.step(host.module(given, time, words).sample, time, sample).prev_sample
        return sample

    rows = hosts.rows(scheduler, 4)
    share = (4.4 + 2.6 * small.outline.macs / host.outline.macs) / 7
    found = search_switch(host, {"small": small}, run, rows, share, order=scheduler.order)
    seen = sensitivity_of(host, {"small": small}, run, rows, order=2)
    for plan in (found.plan, switch(rows, cheapest_harm(seen, (1.0, 0.5), 6.0))):
        answered = {row for row, name in enumerate(resolve(plan, host.outline, ["small"]).answering) if name}
        assert answered
        assert all(answered >= set(step) or not answered & set(step) for step in sampler_steps(rows, 2))


@pytest.mark.parametrize("name", ["time_cond_proj_dim", "num_class_embeds"])
def test_a_model_that_is_called_with_something_else_cannot_answer(host, name):
    other = pico.host(**{name: 8})
    with (
        pytest.raises(FitError, match=f"its {name} is 8, the host's None"),
        rig.applied(switch(ROWS, {"other": [0]}), host, others={"other": other}),
    ):
        pass


@pytest.mark.parametrize(
    ("config", "given"),
    [
        ({"time_cond_proj_dim": 8}, {"timestep_cond": torch.ones(1, 8)}),
        ({"num_class_embeds": 8}, {"class_labels": torch.tensor([3])}),
    ],
)
def test_a_model_is_told_what_it_reads(small, config, given):
    host = pico.host(**config)
    inputs = inputs_of(host, 500, batch=1) | given
    with rig.applied(switch(ROWS, {"small": [0]}), host, others={"small": small}):
        found = host.module(**inputs).sample
    assert torch.equal(found, small.module(**inputs_of(small, 500, batch=1)).sample)


def residuals(unet):
    """What a ControlNet brings: one for each skip connection, and one for the middle."""
    found = []
    handles = [
        module.register_forward_hook(lambda _module, _args, out: found.append(torch.ones_like(first_tensor(out))))
        for path, module in unet.named_modules()
        if path == "conv_in" or re.fullmatch(r"down_blocks\.\d\.(attentions\.\d|downsamplers\.0)", path)
        or path in ("down_blocks.3.resnets.0", "down_blocks.3.resnets.1")
    ]  # fmt: skip
    unet(**inputs_of(pico.host(), 500))
    for handle in handles:
        handle.remove()
    return {
        "down_block_additional_residuals": tuple(found),
        "mid_block_additional_residual": torch.ones_like(found[-1]),
    }


def test_residuals_for_other_skip_connections_are_refused(host, small):
    brought = residuals(host.module)
    plan = switch(ROWS, {"other": [0]})
    twin = hosts.of(pico.unet(), tokens=pico.TOKENS)
    with rig.applied(plan, host, others={"other": twin}):
        assert torch.equal(
            host.module(**inputs_of(host, 500), **brought).sample, twin.module(**inputs_of(host, 500), **brought).sample
        )
    with rig.applied(plan, host, others={"other": small}):
        host.module(**inputs_of(host, 500))
    said = "'other' cannot answer this call: it brings a residual for each of 12 skip connections, and there are 8"
    with rig.applied(plan, host, others={"other": small}), pytest.raises(FitError, match=said):
        host.module(**inputs_of(host, 500), **brought)
