"""The loop resumes to the bit, and a checkpoint of another model is refused."""

import json
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from intarsia import CardError, FitError
from intarsia.train import Group, Method, Schedule, fit
from intarsia.train.optimizers import BESIDE

STEPS = 9


class Line(nn.Module):
    """Fits y = 3x + 1 from noisy points, with dropout so that random state matters."""

    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(1, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1)
        )

    def forward(self, batch):
        return {"loss": (self.layers(batch) - 3 * batch - 1).square().mean()}


class Uneven(Line):
    """Its last layer learns ten times as fast and does not decay."""

    def learning_groups(self):
        return [Group(list(self.layers[4].parameters()), factor=10.0, weight_decay=0.0)]


def points(_draw):
    return torch.randn(16, 1)


def schedule(method="adamw"):
    return Schedule(STEPS, 0.01, warmup=2, cooldown=4, optimizer=method)


def train(out, objective=None, method="adamw", **changes):
    with torch.enable_grad():
        return fit(objective or Line(), points, schedule(method), out, log_every=3, **changes)


def weights(out):
    return {
        kind: load_file(out / "checkpoint" / f"{kind}.safetensors")
        for kind in ("live", "average", "moments", "buffers")
    }


class Wide(Line):
    """A matrix in the middle, which learns at half the rate."""

    def __init__(self):
        super().__init__()
        self.layers.insert(4, nn.Linear(4, 4))

    def learning_groups(self):
        return [Group([self.layers[4].weight], factor=0.5, weight_decay=0.0)]


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("kind", [Line, Uneven, Wide])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, kind, method):
    train(tmp_path / "whole", kind(), method)

    def killed(draw):
        if draw == 7:
            raise KeyboardInterrupt
        return points(draw)

    with pytest.raises(KeyboardInterrupt), torch.enable_grad():
        fit(kind(), killed, schedule(method), tmp_path / "cut", save_every=5, log_every=3)
    assert json.loads((tmp_path / "cut/checkpoint/progress.json").read_text())["step"] == 5
    train(tmp_path / "cut", kind(), method)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, cut[kind][name]) for kind in whole for name, value in whole[kind].items())


def test_it_learns_and_logs(tmp_path):
    with torch.enable_grad():
        done = fit(Line(), points, Schedule(90, 0.05, warmup=2), tmp_path, log_every=30)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [30, 60, 90]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert done["step"] == 90


def test_frozen_weights_stay(tmp_path):
    objective = Line()
    objective.layers[0].requires_grad_(False)
    before = objective.layers[0].weight.clone()
    train(tmp_path, objective)
    assert torch.equal(objective.layers[0].weight, before)
    assert not any("layers.0" in name for name in weights(tmp_path)["live"])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path)
    other = Line()
    other.more = nn.Linear(1, 1)
    with pytest.raises(CardError, match=r"written for another model \('more\.\w+' is in one of them only\)"):
        train(tmp_path, other)
    with pytest.raises(CardError, match=r"written for another model \('layers\.\w+\.\w+' differs\)"):
        train(tmp_path, Line(width=3))


def test_a_loss_that_is_no_number_ends_it_and_spoils_nothing(tmp_path):
    class Diverging(Line):
        def forward(self, batch):
            return {"loss": super().forward(batch)["loss"] * (torch.inf if self.late else 1.0)}

    objective = Diverging()
    objective.late = False
    train(tmp_path, objective, stop_after=0.0)
    kept, objective.late = weights(tmp_path), True
    with pytest.raises(FitError, match=r"the loss is nan by step 6; the last checkpoint is kept"):
        train(tmp_path, objective, save_every=6)
    assert all(torch.equal(value, kept["live"][name]) for name, value in weights(tmp_path)["live"].items())


def test_stopping_early_saves(tmp_path):
    assert train(tmp_path, stop_after=0.0)["step"] == 3
    assert train(tmp_path)["step"] == STEPS


def test_the_average_is_shown_and_taken_off(tmp_path):
    objective, seen = Line(), []

    def show(shown, _step):
        seen.append(shown.layers[0].weight.clone())

    train(tmp_path, objective, show=show, show_every=STEPS)
    kept = weights(tmp_path)
    assert torch.equal(seen[0], kept["average"]["layers.0.weight"])
    assert torch.equal(objective.layers[0].weight, kept["live"]["layers.0.weight"])
    assert not torch.equal(seen[0], kept["live"]["layers.0.weight"])


def test_groups_learn_at_their_own_rate(tmp_path):
    """AdamW's first step moves every weight by its rate, or nearly, and by the decay before that."""
    objective, started = Uneven(), Uneven().state_dict()
    schedule = Schedule(1, 0.01, warmup=1, weight_decay=0.5, average=0.0)
    with torch.enable_grad():
        fit(objective, points, schedule, tmp_path)
    for name, factor, decay in (("layers.0.weight", 1, 0.5), ("layers.4.weight", 10, 0.0)):
        moved = objective.state_dict()[name] - started[name] * (1 - factor * 0.01 * decay)
        assert torch.allclose(moved.abs(), torch.full_like(moved, factor * 0.01), rtol=0.05)


def test_muon_moves_matrices_and_adamw_the_rest(tmp_path):
    """Muon's step is a fifth of the rate at most, as AdamW's usually are; but AdamW's first is its whole rate."""
    objective, started = Wide(), Wide().state_dict()
    with torch.enable_grad():
        fit(objective, points, Schedule(1, 0.01, warmup=1, weight_decay=0.0, average=0.0, optimizer="muon"), tmp_path)
    moved = {name: value - started[name] for name, value in objective.state_dict().items()}
    assert 0 < moved["layers.4.weight"].square().mean().sqrt() < 1.2 * 0.2 * 0.5 * 0.01
    vector = moved["layers.5.weight"]
    assert torch.allclose(vector.abs(), torch.full_like(vector, BESIDE * 0.01), rtol=0.05)
