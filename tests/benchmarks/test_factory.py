"""What the benchmarks of the factory say, on figures and models that were made up so that the answers are known."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.factory import devices, rivals, worlds
from benchmarks.factory.claims import LARGE, beside_plain, of_accuracy, of_cost, of_seconds
from benchmarks.factory.run import Chooser, nearest, plain_row, spread
from intarsia import rig
from intarsia.factory import Grounds, Ranking, Space, Task, choices
from intarsia.hosts import timm_supernet


@pytest.fixture
def world(monkeypatch):
    """A step of a tenth of a second lowers the loss; marks are how often anybody looked at the exam, in hundredths."""
    looks, now = count(1), count()
    monkeypatch.setattr(rivals, "time", SimpleNamespace(perf_counter=lambda: 0.1 * next(now)))
    return SimpleNamespace(
        aid=lambda model: setattr(model, "told", nn.Linear(1, 1)),
        exam=lambda _task: (torch.zeros(1, 4), lambda _said: 0.01 * next(looks)),
        loss=lambda model, _task, shown: model(torch.ones(shown, 4)).sum() + model.told(torch.ones(1)).sum(),
    )


TASK = Task((0,), (0, 1))


def test_a_training_is_read_at_moments_and_stops_at_the_first_step_after_each(world):
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    seen = rivals.taught(model, TASK, world, (0.0, 0.15, 2.0))
    assert seen.accuracy == (0.01, 0.02, 0.06)  # before, at 0.2, and then each half second
    assert seen.seconds == pytest.approx((0.0, 0.2, 2.0))
    assert seen.reached is None
    assert not torch.equal(model.weight, before)
    assert not model.training


def test_a_training_ends_when_it_is_as_good_as_was_asked(world):
    seen = rivals.taught(nn.Linear(4, 2), TASK, world, (1.0, 60.0), goal=0.02)
    assert seen.reached == seen.seconds[0] == seen.seconds[1] == pytest.approx(0.5)
    assert seen.accuracy == (0.02, 0.02)


def test_the_nearest_task_and_far_places():
    tasks = [Task(parts, parts) for parts in ((0, 1), (1, 2), (0, 1, 2), (3, 4))]
    assert nearest(tasks[0], tasks) == tasks[2]
    assert spread(12, 2) == [0, 11]
    assert spread(5, 3) == [0, 2, 4]
    assert spread(1, 2) == [0]


def test_rivals_of_mosaics_begin_as_the_supernet_did_and_are_told_the_digits(monkeypatch):
    digits = [torch.randn(3, 1, 16, 16) for _ in range(10)]
    monkeypatch.setattr(worlds, "read", lambda _data: (digits, digits))
    world = worlds.mosaic_world(Path(), 8)
    host, task = world.host(), world.tasks["seen"][0]
    assert set(world.shares) == {share for share in worlds.CHOICE_SHARES if world.lowest <= share <= world.highest}
    grounds = Grounds.of(host.outline, host.answers)
    ranking = Ranking.by_score(grounds, np.arange(len(grounds.site_of), dtype=float), task.answers)
    ours = rivals.untrained(ranking.plan(ranking.cut_at_share(0.3)), world)
    with rig.count_macs() as counted:
        ours.eval()(torch.zeros(1, *host.size))
    assert counted.total <= 0.3 * host.outline.macs
    for model in (ours, rivals.pruned(host.module, host.size, 0.3 * host.outline.macs)):
        told = []
        for seconds in (0.0, 1e-3):  # no step, and one
            torch.manual_seed(1)
            rivals.taught(model, task, world, (seconds,))
            told.append([value.clone() for value in model.probe.parameters()])
        assert len(told[0]) == 4, "what is in each cell, and how many cells hold it"
        assert not any(torch.equal(before, after) for before, after in zip(*told, strict=True))


def test_a_plain_classifier_is_asked_as_tasks_are(monkeypatch):
    now = count()
    monkeypatch.setattr(rivals, "time", SimpleNamespace(perf_counter=lambda: next(now) / 50))
    space = Space(("dark", "middle", "bright"))
    levels = torch.tensor([-1.0, 0.0, 1.0])

    def shown(_draw):
        answers = torch.randint(3, (24,))
        return levels[answers].view(-1, 1, 1, 1).expand(-1, 3, 32, 32) + 0.1 * torch.randn(24, 3, 32, 32), answers

    world = SimpleNamespace(
        host=lambda: timm_supernet.create("test_resnet", (3, 32, 32), num_classes=3), space=space, plain=0.5,
        lessons=SimpleNamespace(concepts=shown), exam=choices(*shown(0)), tasks={"seen": [space.read("dark, bright")]},
    )  # fmt: skip
    row = plain_row(world, seed=0)
    assert row["seen"] > 0.8  # after 25 steps
    model = rivals.plain(world, 0.5, seed=0)
    assert not model.training
    said = Chooser(model, space, world.tasks["seen"][0])(torch.zeros(1, 3, 32, 32))
    assert torch.equal(said, model(torch.zeros(1, 3, 32, 32))[:, [0, 2]])


def timed(**changed):
    return {"budget": 1.0, "promised": 0.9, "afresh": 1.01, "measured": 2, "assemble": 0.1, "bake": 0.1, "convert": 9.0,
            "measure": 1.0, **changed}  # fmt: skip


def scenario(**changed):
    return {"in seconds": timed(), "over budget": False, "assemble": 0.1, "bake": 0.1, "measure": 0.8, "ours": 0.9,
            "pruned equal": 0.8, "scratch reached": 40.0, "scratch seconds": 40.0, **changed}  # fmt: skip


DEVICE = {"macs": LARGE, "spearman": 0.99, "within_10": 0.97, "training seconds": 390.0}


def failing(claims):
    return [claim.name for claim in claims if not claim.holds]


def test_budgets_that_are_not_kept_are_told():
    assert not failing(of_seconds([scenario()], [DEVICE]))
    assert len(of_seconds([scenario()], [DEVICE | {"macs": 1}])) == len(of_seconds([scenario()], [DEVICE])) - 2
    for changed, said in (
        ({"over budget": True}, "over their budget of MACs"),
        ({"in seconds": timed(promised=1.001)}, "when handed over"),
        ({"in seconds": timed(afresh=1.2)}, "measured afresh"),
        ({"in seconds": timed(measure=5.0)}, "measured model, worst"),
        ({"in seconds": timed(measured=99)}, "models measured"),
        ({"bake": 1.0}, "assemble and bake"),
    ):
        (name,) = failing(of_seconds([scenario(), scenario(**changed)], [DEVICE]))
        assert said in name
    refused = scenario(**{"in seconds": {"budget": 1.0, "refused": 2.0}})
    assert not failing(of_seconds([scenario(), refused], [DEVICE]))
    assert failing(of_seconds([refused], [DEVICE])) == ["orders of seconds that were met, not refused"]


def test_trainings_are_compared_with_both_seconds():
    first, second, paid = of_cost([scenario()], [DEVICE])
    assert (first.value, second.value, paid.value) == (pytest.approx(200), pytest.approx(40), pytest.approx(10))
    given_up = of_cost([scenario(**{"scratch reached": None, "scratch seconds": 120.0})], [DEVICE])
    assert given_up[0].value == pytest.approx(600)


def test_accuracy_is_kept_or_not():
    rows = [
        {"seed": 0, "part": part, "share": share, "dense": 0.9, "own": own, "random": own - 0.1,
         "another's": own - 0.06, "mean": own - 0.06}
        for part, fall in (("seen", 0.0), ("unseen", 0.01)) for share, own in ((0.15, 0.86 - fall), (0.3, 0.88 - fall))
    ]  # fmt: skip
    world = SimpleNamespace(kept={0.15: 0.93, 0.3: 0.97, 0.5: 1.0}, apart=5.0, space=SimpleNamespace(things=False))
    assert not failing(of_accuracy(world, rows, [scenario()]))
    assert failing(of_accuracy(world, [row | {"mean": row["own"]} for row in rows], [scenario()])) == [
        "points above mean units at the two lowest budgets, the worst seed"
    ]


def test_the_largest_model_stands_beside_a_plain_one():
    parts = [{"part": "seen", "dense": 0.9}, {"part": "unseen", "dense": 0.1}]
    assert not beside_plain(parts, [])
    assert not failing(beside_plain(parts, [{"seen": 0.92}]))
    assert failing(beside_plain(parts, [{"seen": 0.95}]))


def order(device, share, **changed):
    return {"task": "sword", "fraction": 0.5, "share of MACs": share, "promised over budget": 0.99,
            "afresh over budget": 1.0, **changed}  # fmt: skip


def rows_of(*shares, **changed):
    many = [
        {"device": name, "spearman": 0.99, "within_10": 1.0, "fastest over dense": 0.2,
         "orders": [order(name, share, **changed)]}
        for name, share in zip("ab", shares, strict=True)
    ]  # fmt: skip
    return [*many, {"switch milliseconds": 2.0}]


def test_devices_choose_otherwise_or_alike():
    assert not failing(devices.claims_of(rows_of(0.4, 0.5)))
    assert len(failing(devices.claims_of(rows_of(0.5, 0.5)))) == 1
    assert len(failing(devices.claims_of(rows_of(0.4, 0.5, **{"afresh over budget": 1.1})))) == 2
    table = devices.choices(rows_of(0.4, 0.5)[:-1])
    assert table[1].split()[-2:] == ["40.0%", "50.0%"]
    refused = rows_of(0.4, 0.5)
    refused[0]["orders"] = [{"task": "sword", "fraction": 0.5, "refused": 1.0}]
    assert not np.isfinite(max(claim.value for claim in devices.claims_of(refused)))
    assert len(devices.choices(refused[:-1])) == 1
