"""What stands beside a kit in its benchmark, on models and figures that were made up so that the answers are known."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.factory import rivals, worlds
from benchmarks.factory.timing import made_at
from intarsia import rig
from intarsia.factory import Grounds, Ranking, Seeking, Space, Task, choices, codes_of
from intarsia.factory.seeking import BOXES
from intarsia.hosts import timm_supernet
from recipes.mosaics import questions
from tests.factory.conftest import KINDS, apart, detector_kit
from tests.factory.test_learning import scenes


@pytest.fixture
def world(monkeypatch):
    """A step of a tenth of a second lowers the loss; marks are how often anybody looked at the exam, in hundredths."""
    looks, now = count(1), count()
    monkeypatch.setattr(rivals, "time", SimpleNamespace(perf_counter=lambda: 0.1 * next(now)))
    return SimpleNamespace(
        aid=lambda model: setattr(model, "told", nn.Linear(1, 1)),
        exam=lambda _task: (torch.zeros(1, 4), lambda _said: 0.01 * next(looks)),
        loss=lambda model, _task, shown: model(torch.ones(shown, 4)).sum() + model.told(torch.ones(1)).sum(),
        rate=0.01,
    )


TASK = Task((0,), (0, 1))


@pytest.mark.parametrize(("seconds", "looks", "spent"), [(0.0, 1, 0.0), (0.15, 3, 0.2), (2.0, 9, 2.0)])
def test_a_training_stops_at_the_first_step_after_its_seconds(world, seconds, looks, spent):
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    seen = rivals.taught(model, TASK, world, seconds)
    assert seen.accuracy == 0.01 * looks  # before, and then each half second at the weights and at their average
    assert seen.seconds == pytest.approx(spent)
    assert seen.reached is None
    assert torch.equal(model.weight, before) == (not seconds)
    assert not model.training


def test_a_training_ends_when_it_is_as_good_as_was_asked(world):
    seen = rivals.taught(nn.Linear(4, 2), TASK, world, 60.0, goal=0.02)
    assert seen.reached == seen.seconds == pytest.approx(0.5)
    assert seen.accuracy == 0.03


def test_a_training_slows_down_to_nothing_and_its_average_may_be_better(world, monkeypatch):
    rates, judged = [], []
    monkeypatch.setattr(rivals, "step", lambda optimizer, model, loss: rates.append(optimizer.param_groups[0]["lr"])
                        or loss.backward() or optimizer.step())  # fmt: skip
    monkeypatch.setattr(rivals, "marked", lambda model, *_exam: judged.append(model.weight.clone()) or -len(judged))
    model = nn.Linear(4, 2)
    rivals.taught(model, TASK, world, 1.0)
    assert rates == pytest.approx([0.01 * (1 - one / 10) for one in range(10)])
    assert len(judged) == 5
    assert torch.equal(judged[-2], model.weight)
    assert not torch.equal(judged[-1], model.weight)
    assert (judged[-1] - judged[0]).norm() < (judged[-2] - judged[0]).norm(), "the average comes after"


def test_looks_are_as_far_apart_as_a_tenth_of_what_has_gone_by(world):
    steps, looks, loss = [], [], world.loss
    world.loss = lambda *given: steps.append(1) or loss(*given)
    world.exam = lambda _task: (torch.zeros(1, 4), lambda _said: looks.append(0.1 * len(steps)) or 0.0)
    rivals.taught(nn.Linear(4, 2), TASK, world, 60.0)
    looks = [looks[0], *looks[1::2]]  # the others are at averages
    assert looks[:3] == pytest.approx([0.0, 0.5, 1.0])  # however long it may take
    gaps, gone = np.diff(looks), np.array(looks[:-1])
    assert (gaps < np.maximum(0.5, gone / 10) + 0.15).all()
    assert gaps[-2] > 3


def test_rivals_learn_as_kits_do():
    model, world = nn.Linear(4, 2), SimpleNamespace(rate=0.01, aid=None)
    before = model.weight.clone()
    with torch.enable_grad():
        rivals.step(torch.optim.SGD(model.parameters(), lr=1.0), model, 1e6 * model(torch.ones(1, 4)).sum())
    assert 0.5 < (model.weight - before).norm() <= 1  # clipped
    world.exam = lambda _task: (torch.zeros(1, 4), lambda _said: 0.0)
    world.loss = lambda model, _task, shown: model(torch.ones(shown, 4)).sum()
    before = model.weight.clone()
    rivals.taught(model, TASK, world, 1e-9)
    assert (model.weight - before).abs().max() == pytest.approx(0.01, rel=0.01)  # what AdamW's first step is


def test_rivals_of_mosaics_begin_as_the_supernet_did_and_are_told_the_digits(monkeypatch):
    digits = [torch.randn(3, 1, 16, 16) for _ in range(10)]
    monkeypatch.setattr(worlds, "read", lambda _data: (digits, digits))
    world = worlds.mosaic_world(Path(), 8)
    host, task = world.host(), world.tasks["seen"][0]
    assert world.shares == (0.15, 0.2, 0.3, world.highest)  # which stands for those above it too
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
            rivals.taught(model, task, world, seconds)
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
        host=lambda: timm_supernet.create("test_resnet", (3, 32, 32), num_classes=3), space=space, probe=None,
        rate=2e-3, lessons=SimpleNamespace(concepts=shown),
    )  # fmt: skip
    whole, task = rivals.plain(world, 0.5, seed=0), space.read("dark, bright")
    assert not whole.training
    pictures, marks = choices(*shown(0))(task)
    said = rivals.Chooser(whole, world, task)(pictures)
    assert marks(said) > 0.8  # after 25 steps
    assert torch.equal(said, whole.model(pictures)[:, [0, 2]])


def test_a_plain_detector_is_asked_as_tasks_are(monkeypatch):
    """One large thing in the middle, bright or dark: after some steps the brighter pictures have the surer bright."""
    now = count()
    monkeypatch.setattr(rivals, "time", SimpleNamespace(perf_counter=lambda: next(now) / 50))
    space = Space(("dark", "middle", "bright"), things=True, groups=(("dark", "middle", "bright"),))

    def shown(_draw):
        levels = torch.randint(3, (24,))
        pictures = (levels - 1.0).view(-1, 1, 1, 1).expand(-1, 3, 64, 64) + 0.1 * torch.randn(24, 3, 64, 64)
        return (
            pictures,
            torch.tensor([16.0, 16, 48, 48]).expand(24, 1, 4),
            nn.functional.one_hot(levels, 3)[:, None].float(),
        )

    world = SimpleNamespace(
        host=lambda: timm_supernet.create(
            "anchor_free_detector", (3, 64, 64), backbone="test_efficientnet", num_classes=3, width=16, depth=1
        ),
        space=space, probe=None, rate=5e-3, lessons=SimpleNamespace(concepts=shown),
    )  # fmt: skip
    whole = rivals.plain(world, 1.0, seed=0)
    said = rivals.Chooser(whole, world, space.read("bright"))(
        torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(-1, 3, 64, 64)
    )
    assert said.shape[2] == 5
    dark, bright = said[..., 4].amax(1)
    assert bright > dark + 1


def test_a_plain_model_of_mosaics_answers_from_the_digits_that_it_sees(monkeypatch):
    now = count()
    monkeypatch.setattr(rivals, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    digits = [torch.randn(3, 1, 16, 16) for _ in range(10)]
    monkeypatch.setattr(worlds, "read", lambda _data: (digits, digits))
    world, task = worlds.mosaic_world(Path(), 8), questions.SPACE.read("only two, odd")
    whole = rivals.plain(world, 1.0, seed=0)  # one step
    cells = torch.tensor([[[1, 3], [4, 0]], [[1, 3], [5, 0]], [[2, 2], [4, 0]]])
    monkeypatch.setattr(whole.probe, "forward", lambda _net, _pictures: SimpleNamespace(
        cells=nn.functional.one_hot(cells, 10).permute(0, 3, 1, 2)
    ))  # fmt: skip
    assert rivals.Chooser(whole, world, task)(torch.zeros(3, 1, 32, 32)).argmax(1).tolist() == [1, 0, 0]


@pytest.mark.parametrize("made", KINDS.values())
def test_what_costs_no_more_is_not_pruned(made):
    kit = made()
    pictures = torch.randn(2, *kit.host.size)
    whole = rivals.pruned(kit.host.module, kit.host.size, kit.host.outline.macs)
    assert torch.equal(whole(pictures), kit.host.module(pictures))
    smaller = rivals.pruned(kit.host.module, kit.host.size, 0.9 * kit.host.outline.macs).eval()
    with rig.count_macs() as counted:
        smaller(pictures[:1])
    assert counted.total <= 0.9 * kit.host.outline.macs
    assert smaller(pictures).shape == whole(pictures).shape, "what is answered stays"
    assert min(apart(kit.host, smaller(pictures), whole(pictures))) > 1e-3


@pytest.mark.parametrize("words", ["red square", "bar", "red, blue"])
def test_rivals_seek_things_as_kits_do(words, monkeypatch):
    kit, batch = detector_kit(), scenes(0)
    task, groups = kit.space.read(words), kit.space.groups_of(kit.space.names)
    second, rival = Seeking(kit.host, kit.assembler, groups, kit.lowest), made_at(kit, task, kit.highest)
    monkeypatch.setattr(kit.host.module, "train", lambda: None)  # so that batch norms are as the rival's
    told = second((*batch, codes_of([task] * 3, len(kit.space.names))))
    loss = worlds.seeking(second.cells, kit.space, lambda *_: batch)
    with torch.enable_grad():
        wrong = loss(rival.requires_grad_(True), task, len(batch[0]))
    assert float(wrong) == pytest.approx(float(told["names"] + BOXES * told["boxes"]), rel=1e-5)
    wrong.backward()
    assert all(value.grad.any() for value in rival.parameters())
