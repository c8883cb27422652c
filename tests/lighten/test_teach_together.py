"""Two processes teach one student, stage by stage; killed, they go on to the same weights."""

import pytest
import torch
from safetensors.torch import load_file

from tests.train.test_processes import torchrun

TEACHING = """
import os, sys
from pathlib import Path
import torch
from diffusers import DDIMScheduler
from intarsia import Plan, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten.experts import with_experts
from intarsia.lighten.record import blocks_of
from intarsia.lighten.teach import teach
from intarsia.train import Schedule

torch.set_num_threads(1)
out, stop = Path(sys.argv[1]), int(sys.argv[2])
teacher = pico.unet()
student, lineage = rig.bake(Plan(1, (Rule("0", "pairs.0.1 | pairs.2.1", Skip()),)), hosts.of(teacher))
pairs = blocks_of(student, lineage)
student, _ = with_experts(student, teacher, lineage, routing="time")
calls = []

def batch_at(draw):
    calls.append(draw)
    if len(calls) == stop:
        os._exit(1)
    return torch.randn(2, 4, 16, 16), torch.randn(2, pico.TOKENS, pico.WIDTH)

done = teach(student, teacher, DDIMScheduler(), batch_at, pairs, Schedule(12, 1e-3, warmup=1), out, incubate=0.5,
             save_every=2)
assert done.finished
"""


@pytest.mark.slow
def test_killed_together_they_go_on_to_the_same_weights(tmp_path):
    script = tmp_path / "teaching.py"
    script.write_text(TEACHING)
    torchrun(script, tmp_path / "whole", "0")
    for stop in ("2", "8"):  # in the first stage, and in the last
        torchrun(script, tmp_path / "killed", stop, ends=1)
    torchrun(script, tmp_path / "killed", "0")
    for stage in ("level-0", "level-2", "whole"):
        one, other = (load_file(tmp_path / run / stage / "checkpoint/live.safetensors") for run in ("whole", "killed"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one), stage
