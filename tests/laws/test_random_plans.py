"""The laws for plans that nobody would write: any sites, any rows, any carry and forecast that resolve."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from intarsia import Extrapolate, FitError, Fitted, Hold, Plan, PlanError, Reuse, Rule, Skip, price, resolve, rig
from intarsia.hosts import pico
from intarsia.rig import answering, idle

from .conftest import TINY, inputs_of

ROWS = 4
HOST = pico.host(**TINY)
HOST.outline = rig.outline_of(HOST, batch=1, tokens=pico.TOKENS)
PATHS = [site.path for site in HOST.outline.sites if site.level != "pair"]

forecasts = st.one_of(
    st.just(Hold()),
    st.builds(Extrapolate, st.sampled_from([1, 2]), st.sampled_from([0.5, 1.0])),
    st.just(Fitted(((1.4, -0.4), (0.9,)))),
)
reuses = st.builds(Reuse, st.sampled_from(["output", "residual"]), forecasts)
rows = st.sampled_from(["1:", "2:", "1, 3", "!::2", "2"])
rules = st.builds(Rule, rows, st.sampled_from(PATHS), reuses | st.just(Skip()))


@st.composite
def tables(draw):
    plan = Plan(ROWS, tuple(draw(st.lists(rules, min_size=1, max_size=6))))
    try:
        return resolve(plan, HOST.outline)
    except (PlanError, FitError):
        assume(False)


def answers():
    return [HOST.module(**inputs_of(HOST, 1000 - 100 * row, seed=row, batch=1)).sample for row in range(ROWS)]


WHOLE = answers()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(tables())
def test_every_law_at_once(table):
    bill = price(table)

    def poison(shape, like):
        return torch.full((), float("nan"), dtype=like.dtype).expand(shape)

    with pytest.MonkeyPatch.context() as patch, rig.applied(table.plan, HOST) as live:
        patch.setattr(answering, "placeholder", poison)
        first = answers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idle, "is_idle", lambda *_: False)  # every unit is asked for itself
        with rig.applied(table.plan, HOST):
            assert all(torch.equal(one, other) for one, other in zip(first, answers(), strict=True))
    with rig.applied(table.plan, HOST) as live:
        for row in range(ROWS):
            with rig.count_macs() as macs:
                again = HOST.module(**inputs_of(HOST, 1000 - 100 * row, seed=row, batch=1)).sample
            assert macs.total == bill.macs[row]
            assert live.remembered_bytes == bill.kept_bytes[row]
            assert first[row].isfinite().all()
            assert torch.equal(again, first[row])
            assert live.trace[row].computed == len(table.flows[row].computed)
    assert torch.equal(first[0], WHOLE[0]) or table.cells[0]
    assert all(torch.equal(one, other) for one, other in zip(answers(), WHOLE, strict=True))
