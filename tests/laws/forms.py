"""Ways of inheriting that every UNet of two levels has the sites for: each level, each carry, and a forecast."""

from typing import Any

import torch

from intarsia import Extrapolate, Fitted, Plan, hosts, rig
from intarsia.lighten import inherit

from .drawings import STEPS, Drawing

FORMS: dict[str, dict[str, Any]] = {
    "block": {"sites": "up_blocks.0"},
    "block, residual": {"sites": "up_blocks.0", "carry": "residual"},
    "layer": {"sites": "up_blocks.1.layers.1"},
    "layer, residual": {"sites": "up_blocks.1.layers.1", "carry": "residual"},
    "unit": {"sites": "up_blocks.1.resnets.1"},
    "unit, residual": {"sites": "**.attentions.*", "carry": "residual"},
    "block, forecast": {"sites": "up_blocks.0", "forecast": Extrapolate(1, damping=0.5)},
    "subunit": {"sites": "**.attn1"},
}
# What stands for all of them where a test is dear.
CHOSEN = ("block", "unit, residual", "block, forecast", "subunit")


def computing_all(rows: int, form: str) -> Plan:
    """A plan under which every call of a run computes and is remembered: only one call more would recall, from all.

    The sites are watched as under any other plan. `inherit(every=1)` has no rules and watches nothing.
    """
    newest_of_all = Fitted(((1.0, *[0.0] * (rows - 1)),))
    return inherit(rows + 1, keys=range(rows), **FORMS[form] | {"forecast": newest_of_all})


def holds_its_laws(draw: Drawing, form: str) -> None:
    """Computing all changes nothing, every second call something, a second run nothing more; leaving restores."""
    host, rows = hosts.of(draw.pipe.unet), hosts.rows(draw.pipe.scheduler, STEPS)
    whole = draw()
    with rig.applied(computing_all(rows, form), host) as live:
        assert torch.equal(draw(), whole)
        assert live.watch.sites or live.watch.blocks
    with rig.applied(inherit(rows, every=2, **FORMS[form]), host) as live:
        first = draw()
        assert first.isfinite().all()
        assert not torch.equal(first, whole)
        assert torch.equal(draw(), first)
        assert any(call.recalled for call in live.trace)
    assert torch.equal(draw(), whole)
