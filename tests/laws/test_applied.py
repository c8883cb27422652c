"""What applying a plan may and may not do to a host."""

from dataclasses import replace

import pytest
import torch

from intarsia import Extrapolate, FitError, Plan, Reuse, RigError, Rule, Skip, Use, price, resolve, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.rig import answering

from .conftest import ROWS, inputs_of, run_through
from .forms import CHOSEN, FORMS, computing_all


def equal(some, others):
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def attributes(module):
    """Everything that stands on every module, by identity, and how many hooks."""
    found = {}
    for name, piece in module.named_modules():
        found[name] = {key: id(value) for key, value in piece.__dict__.items()}
        found[name]["hooks"] = len(piece._forward_pre_hooks), len(piece._forward_hooks)
    return found


def test_an_empty_plan_changes_nothing(host, whole):
    with rig.applied(Plan(ROWS), host):
        assert equal(run_through(host), whole)


@pytest.mark.parametrize("form", CHOSEN)
def test_computing_all_changes_nothing(host, whole, form):
    """Everything that the plan is about is watched and remembered, and no call of these recalls."""
    with rig.applied(computing_all(ROWS, form), host) as live:
        assert equal(run_through(host), whole)
        assert live.watch.sites or live.watch.blocks
        assert live.remembered_bytes > 0
        assert not any(call.recalled for call in live.trace)


def test_a_plan_that_reuses_changes_something(host, plans, whole):
    for plan in plans:
        with rig.applied(plan, host):
            assert not equal(run_through(host), whole)


def test_leaving_restores_everything(host, plans, whole):
    names, before = list(host.module.state_dict()), attributes(host.module)
    for plan in plans:
        with rig.applied(plan, host):
            assert attributes(host.module) != before
            assert list(host.module.state_dict()) == names
            run_through(host)
        assert attributes(host.module) == before
    assert equal(run_through(host), whole)


def test_leaving_by_an_exception_restores_everything(host, plans, whole):
    before = attributes(host.module)
    with pytest.raises(KeyboardInterrupt), rig.applied(plans[0], host):
        run_through(host, rows=2)
        raise KeyboardInterrupt
    assert attributes(host.module) == before
    assert equal(run_through(host), whole)


def test_a_second_plan_is_refused_with_advice(host, plans):
    with (
        rig.applied(plans[0], host),
        pytest.raises(RigError, match=r"under a plan already.*Join the two plans with '\|'"),
        rig.applied(plans[1], host),
    ):
        pass
    with rig.applied(plans[1], host):
        pass


def test_price_is_what_the_meter_reads(host, plans):
    for plan in plans:
        bill = price(resolve(plan, host.outline))
        with rig.applied(plan, host):
            for row in range(ROWS):
                time = 1000 - 100 * row
                with rig.count_macs() as counted:
                    host.module(**inputs_of(host, time, seed=time))
                assert counted.total == bill.macs[row]


@pytest.mark.parametrize(("height", "width"), [(10, 6), (9, 15), (24, 16)])
def test_price_is_what_the_meter_reads_at_any_size(pico_host, height, width):
    """Odd sides are rounded up on the way down, and cut off on the way up."""
    size = {"height": height, "width": width}
    outline = rig.outline_of(pico_host, tokens=pico.TOKENS, **size)
    for form in CHOSEN:
        plan = inherit(2, every=2, **FORMS[form])
        bill = price(resolve(plan, outline))
        assert bill.macs[1] < bill.macs[0] == outline.macs
        with rig.applied(plan, pico_host):
            for row in range(2):
                given = inputs_of(pico_host, 900 - row, batch=1, **size)
                with rig.count_macs() as counted:
                    assert pico_host.module(**given).sample.shape == given["sample"].shape
                assert counted.total == bill.macs[row]


def test_only_what_is_inherited_is_remembered(host, plans):
    for plan in plans:
        bill = price(resolve(plan, host.outline))
        with rig.applied(plan, host) as running:
            for row in range(ROWS):
                host.module(**inputs_of(host, 1000 - 100 * row))
                assert running.remembered_bytes == bill.kept_bytes[row]


def test_nothing_dead_reaches_the_output(host, plans, monkeypatch):
    seen = []

    def poison(shape, like):
        seen.append(shape)
        return torch.full((), float("nan"), dtype=like.dtype).expand(shape)

    monkeypatch.setattr(answering, "placeholder", poison)
    for plan in plans:
        with rig.applied(plan, host):
            assert all(bool(output.isfinite().all()) for output in run_through(host))
    assert seen, "no plan had anything dead: this test tests nothing"


def test_an_overlooked_reader_is_noticed(host, monkeypatch):
    """A host that forgets who reads a skip connection is refused at the first call, not trusted with a picture."""
    outline = host.outline
    forgetful = [
        replace(site, reads=site.reads[:1]) if site.path == "up_blocks.1.resnets.2" else site for site in outline.sites
    ]
    wrong = replace(outline, sites=tuple(forgetful))
    monkeypatch.setattr(host, "outline", wrong)
    plan = inherit(ROWS, every=2, sites="up_blocks.1.layers.1")
    with rig.applied(plan, host), pytest.raises(RigError, match="overlooked a reader"):
        run_through(host)


def test_two_runs_in_a_row_are_equal(host, plans):
    for plan in plans:
        with rig.applied(plan, host):
            assert equal(run_through(host), run_through(host))


def test_a_run_cut_short_leaves_nothing_behind(host, plans):
    with rig.applied(plans[0], host):
        clean = run_through(host)
        run_through(host, rows=3)
        assert equal(run_through(host), clean)


def test_another_batch_size_mid_run_is_computed_afresh(host, plans):
    with rig.applied(plans[0], host) as running:
        host.module(**inputs_of(host, 900, batch=2))
        output = host.module(**inputs_of(host, 800, batch=1)).sample
    assert running.trace[1].refreshed
    assert torch.equal(output, host.module(**inputs_of(host, 800, batch=1)).sample)


def test_a_call_that_failed_leaves_nothing_behind(host, plans, whole):
    given = inputs_of(host, 1000, seed=1000)
    broken = {**given, "encoder_hidden_states": torch.zeros(1, 1, 3)}
    with rig.applied(plans[0], host):
        clean = run_through(host)
        with pytest.raises(RuntimeError):
            host.module(**broken)
        assert equal(run_through(host), clean)
        host.module(**given)
        assert equal(run_through(host), clean)


def test_what_can_only_be_cut_is_not_applied(host):
    cut = next(site.path for site in host.outline.sites if site.skip == "cut")
    with (
        pytest.raises(FitError, match="only be cut out of a model for good"),
        rig.applied(Plan(1, (Rule("0", cut, Skip()),)), host),
    ):
        pass


def test_lanes_that_are_not_there_are_noticed(host, plans):
    with rig.applied(plans[0], host, lanes=2), pytest.raises(RigError, match="2 lanes were asked for"):
        run_through(host)


def test_an_offloaded_host_is_outlined_and_applied(host, plans, whole):
    from accelerate import cpu_offload_with_hook
    from accelerate.hooks import remove_hook_from_module

    cpu_offload_with_hook(host.module, execution_device="cpu")
    try:
        assert rig.outline_of(host, batch=2, tokens=pico.TOKENS) == host.outline
        with rig.applied(plans[0], host):
            changed = run_through(host)
    finally:
        remove_hook_from_module(host.module)
    with rig.applied(plans[0], host):
        assert equal(run_through(host), changed)


def test_too_many_calls_are_refused(host):
    with rig.applied(Plan(2, (Rule("1", "conv_out", Reuse()),)), host):
        for time in (900, 800):
            host.module(**inputs_of(host, time))
        with pytest.raises(RigError, match="2 rows and this is call 3"):
            host.module(**inputs_of(host, 700))


def test_a_host_whose_answer_is_told_is_not_entered_and_its_answers_are_the_callers(host):
    """What its caller does with an answer is not remembered."""
    plan = Plan(4, (Rule("2:", "host", Reuse(forecast=Extrapolate(1))),))
    entered = []
    handle = host.module.time_embedding.register_forward_hook(lambda *_: entered.append(1))
    try:
        with rig.applied(plan, host) as live:
            first, second, third, fourth = (
                host.module(**inputs_of(host, time, seed=time), return_dict=False)[0].mul_(1 + time / 1000)
                for time in (900, 800, 700, 600)
            )
    finally:
        handle.remove()
    assert len(entered) == 2
    assert [(call.computed, call.recalled) for call in live.trace[2:]] == [(0, 1)] * 2
    assert price(resolve(plan, host.outline)).macs[2:] == (0, 0)
    before, after = first / 1.9, second / 1.8
    torch.testing.assert_close(third / 1.7, 2 * after - before, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fourth / 1.6, 3 * after - 2 * before, atol=1e-5, rtol=1e-4)


def test_split_guidance_equals_one_batch(host, plans):
    """Two lanes of one sample each answer as one call with both would, but for the batch's rounding."""

    def sample_of(value, lane):
        if isinstance(value, dict):
            return {name: sample_of(inner, lane) for name, inner in value.items()}
        return value[lane : lane + 1] if value.dim() else value

    for plan in plans:
        with rig.applied(plan, host):
            together = run_through(host, rows=4)
        with rig.applied(plan, host, lanes=2):
            for row, both in enumerate(together):
                given = inputs_of(host, 1000 - 100 * row, seed=1000 - 100 * row)
                for lane in range(2):
                    alone = host.module(**sample_of(given, lane)).sample
                    torch.testing.assert_close(alone, both[lane : lane + 1], rtol=1e-4, atol=1e-5)


def test_a_second_plan_is_refused_through_another_host_too(host, plans):
    """Reading an outline does not run the model that is under a plan."""
    from intarsia import hosts

    with rig.applied(plans[0], host) as live:
        host.module(**inputs_of(host, 900))
        again = hosts.of(host.module, batch=2, tokens=pico.TOKENS)
        assert again.outline.shape_hash == host.outline.shape_hash
        assert len(live.trace) == 1
        with pytest.raises(RigError, match=r"Join the two plans with '\|'"), rig.applied(plans[0], again):
            pass


def test_a_plan_begins_where_the_host_first_answers(pico_outline):
    """Rows that another model answered leave nothing to recall, and nothing to make up for."""
    host, small = pico.host(), pico.host(layers_per_block=1)
    host.outline = pico_outline
    rules = (Rule(":2", "host", Use("small")), Rule("2:", "mid_block.attentions.0", Skip()))
    plan = Plan(4, rules)
    bill = price(resolve(plan, host.outline, ["small"]), {"small": rig.outline_of(small, batch=2, tokens=pico.TOKENS)})
    with rig.applied(plan, host, others={"small": small}) as live:
        for row in range(4):
            with rig.count_macs() as macs:
                host.module(**inputs_of(host, 1000 - 100 * row))
            assert macs.total == bill.macs[row]
    assert not any(call.refreshed for call in live.trace)
