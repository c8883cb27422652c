"""What is compiled is not put under a plan, whichever of the two came first."""

import pytest
import torch

from intarsia import RigError, hosts, rig
from intarsia.graphs import applied_as_graphs
from intarsia.hosts import pico
from intarsia.lighten import inherit
from tests.laws.conftest import inputs_of

INSIDE = "up_blocks.2.attentions.0.transformer_blocks.0"
PLAN = inherit(4, every=2, sites=f"{INSIDE}.attn1")
ADVICE = r"was compiled.*applied_as_graphs\(plan, host, 'compile'\)"


@pytest.mark.parametrize("kind", [lambda unet: unet.compile() or unet, torch.compile], ids=["in place", "wrapped"])
def test_no_host_takes_a_compiled_model(kind):
    with pytest.raises(RigError, match=ADVICE):
        hosts.of(kind(pico.unet()))


@pytest.mark.parametrize("place", ["", "up_blocks.2", INSIDE])
def test_no_plan_is_applied_inside_what_is_compiled(place):
    host = pico.host()
    host.module.get_submodule(place).compile()
    with pytest.raises(RigError, match=ADVICE), rig.applied(PLAN, host):
        pass


def test_nor_are_graphs():
    host = pico.host()
    host.module.compile()
    with pytest.raises(RigError, match=ADVICE), applied_as_graphs(PLAN, host, "torch"):
        pass


def test_what_is_compiled_beside_a_plan_is_none_of_its_business():
    host = pico.host()
    host.module.get_submodule(f"{INSIDE}.attn2").compile()
    with rig.applied(PLAN, host):
        pass


def test_compiling_under_a_plan_is_refused_at_the_next_call():
    host = pico.host()
    with rig.applied(PLAN, host):
        host.module.compile()
        with pytest.raises(RigError, match=ADVICE):
            host.module(**inputs_of(host, 9))
