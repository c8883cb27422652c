"""Two processes of `torchrun` on a CPU are one training, whatever the environment says."""

import json
import os
import subprocess
import sys

import pytest

TRAINING = """
import sys
from pathlib import Path
import torch
from torch import nn
from intarsia.train import Schedule, fit, processes

torch.set_num_threads(1)

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))
        self.silent = nn.Parameter(torch.zeros(()))  # in no loss

    def forward(self, drawn):
        return {"loss": (self.slope - drawn).square(), "drawn": torch.tensor(float(drawn))}

fit(Line(), lambda draw: draw, Schedule(4, 0.1, warmup=1), Path(sys.argv[1]), log_every=4)
assert processes().num_processes == 2
"""


def torchrun(script, *words, ends=0):
    """Run a script in two processes, told nothing by the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, script, *words], env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert bool(done.returncode) == bool(ends), done.stderr.decode()[-2000:]


@pytest.mark.slow
def test_two_processes_share_one_training(tmp_path):
    (tmp_path / "training.py").write_text(TRAINING)
    torchrun(tmp_path / "training.py", tmp_path / "run")
    (row,) = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert row["step"] == 4
    assert row["drawn"] == (0 + 2 + 4 + 6) / 4  # the first of two processes takes every second draw
