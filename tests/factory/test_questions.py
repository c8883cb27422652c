"""Where all tasks share one head, only the gates tell them apart."""

import numpy as np
import pytest
import torch

from intarsia import FitError, factory, rig
from intarsia.factory import Budget, Order, Space
from intarsia.factory.audit import accuracies, whose
from intarsia.factory.cuts import by_site, masks_of
from intarsia.hosts import timm_supernet
from intarsia.train import seed_everything

from .conftest import COLOURS
from .test_learning import coloured

COUNTS = ("none", "some")
SPACE = Space(COUNTS + COLOURS, {"any": COUNTS, "cool": ("green", "blue", "cyan")}, ("no", "yes"), (COUNTS, COLOURS))
HIGHEST = 0.9


def test_words_become_questions():
    task = SPACE.read("Some, cool")
    assert SPACE.spoken(task) == ("some", "green", "blue", "cyan")
    assert task.answers == (0, 1)
    assert SPACE.task(["any", "red"]).parts == (0, 1, 2)
    with pytest.raises(FitError, match="names at least one of: none, some"):
        SPACE.read("red, blue")
    with pytest.raises(FitError) as refusal:
        Space(COLOURS, shared=("no", "yes"), groups=(("red",), ("blue",))).read("pink")
    assert len(refusal.value.problems) == 2


def supernet():
    torch.manual_seed(0)
    return timm_supernet.create("test_resnet", (3, 32, 32), num_classes=2)


def lessons(batch=36, tasks=6):
    """Is the colour one of the set, or none of it?"""

    def concepts(_draw):
        pictures, answers = coloured(batch)
        return pictures, answers[:, None, None]

    def questions(_draw):
        asked = [
            SPACE.task_of({count, *(2 + torch.randperm(6)[:2]).tolist()})
            for count in torch.randint(2, (tasks,)).tolist()
        ]
        drawn = [shown(task, batch // tasks) for task in asked]
        pictures, answers = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return pictures, answers, factory.codes_of(asked, len(SPACE.names))

    return factory.Lessons(concepts, questions)


def exam(task):
    pictures, answers = shown(task, 64)
    return pictures, factory.choice_marks(task, answers)


def shown(task, count):
    inside = torch.tensor([part in task.parts for part in range(2, 8)])
    yes = torch.arange(count) % 2
    wanted = inside if 1 in task.parts else ~inside
    colours = [torch.multinomial((wanted if right else ~wanted).float(), 1)[0] for right in yes]
    return coloured(0, torch.stack(colours))[0], yes


def trained(out, concepts, customising):
    host = supernet()
    probe = factory.Probe(host.module, host.size, "layer4", len(COLOURS), 1)
    with torch.enable_grad():
        return factory.learned(
            host, SPACE, lessons(), out, lowest=0.7, highest=HIGHEST, concepts=concepts, customising=customising,
            probe=probe,
        )  # fmt: skip


def test_a_kit_of_questions_keeps_its_promises(tmp_path):
    kit = trained(tmp_path / "run", 2, 2)
    factory.save_kit(kit, tmp_path / "kit")
    back = factory.load_kit(tmp_path / "kit")
    assert (back.space, back.highest) == (SPACE, HIGHEST)
    task = SPACE.read("some, cool")
    order = Order(task, Budget(macs=1e12))
    done = factory.fulfil(order, back)
    ranking = back.assembler.rank([task], back.grounds)[0]
    length = ranking.cut_at_share(HIGHEST)
    assert done.costs["macs"] == ranking.costs["macs"][length - ranking.least] < back.host.outline.macs
    pictures = torch.randn(3, 3, 32, 32)
    with rig.gated(back.host, by_site(back.grounds, masks_of([ranking], [length]).expand(3, -1))):
        assert torch.allclose(back.host.module(pictures), done.model(pictures), atol=1e-5)
    factory.ship(order, done, back, tmp_path / "out")
    assert factory.rebuild(tmp_path / "out").answers == ("no", "yes")
    with pytest.raises(FitError, match=r"from 70.0% to 90% was"):
        factory.audit(back, [task, SPACE.read("any, red")], exam, (1.0,))


def test_what_cannot_be_learned_is_refused(tmp_path):
    host = supernet()
    units = len(factory.Grounds.of(host.outline, host.answers).site_of)
    with pytest.raises(FitError, match="answers all tasks alike"):
        factory.Customising(host, factory.Assembler(8, units), 0.7, shared_head=True)
    with pytest.raises(FitError, match="2 outputs, and the space names 6"):
        factory.learned(host, Space(COLOURS), lessons(), tmp_path, lowest=0.7, concepts=1, customising=1)
    pictures, answers = coloured(6, torch.tensor([0, 0, 1, 1, 3, 3]))
    with pytest.raises(FitError, match="no picture of answer 2"):
        factory.choice_lessons(pictures, answers)
    for some in (answers[1:], answers[:0]):
        with pytest.raises(FitError, match="give one for each"):
            factory.choice_lessons(pictures[: len(some) + 1], some)
    with pytest.raises(FitError, match="a choice between two or more"):
        factory.choice_lessons(pictures, answers, most=1)
    for tasks in (2, 4):
        with pytest.raises(FitError, match=f"a batch of 3 pictures for {tasks} tasks"):
            factory.choice_lessons(pictures, answers, batch=3, tasks=tasks)


def test_a_probe_looks_into_cells():
    host = supernet()
    probe = factory.Probe(host.module, host.size, "layer1", 5, 2)
    pictures = torch.randn(3, 3, 32, 32)
    told = probe(host.module.eval(), pictures).cells
    assert told.shape == (3, 5, 2, 2)
    assert not host.module.layer1._forward_hooks
    pictures[:, :, :8, :8] += 1  # the upper left cell, far from the lower right one
    moved = (probe(host.module, pictures).cells - told).abs().amax((0, 1))
    assert moved[0, 0] > 10 * moved[1, 1]


def test_a_probe_counts_from_a_later_layer_and_its_lesson_reaches_it():
    host = supernet()
    host.module.requires_grad_(True)
    probe = factory.Probe(host.module, host.size, "layer1", 5, 2, counting="layer4")
    cells = torch.tensor([[[0, 0], [3, 0]], [[4, 4], [4, 4]]])
    with torch.enable_grad():
        told = probe(host.module.train(), torch.randn(2, 3, 32, 32))
        assert told.counts.shape == (2, 5, 5)  # five concepts, none of them to all four cells
        probe.wrong(told, cells).backward()
    assert any(one.grad is not None and one.grad.any() for one in host.module.layer4.parameters())
    known = torch.full_like(told.counts, -20)
    for picture, counts in enumerate(([3, 0, 0, 1, 0], [0, 0, 0, 0, 4])):
        known[picture, range(5), counts] = 20
    placed = torch.zeros_like(told.cells).scatter(1, cells[:, None], 40.0)
    assert probe.wrong(told._replace(cells=placed, counts=known), cells) < 1e-4
    assert probe.wrong(told._replace(cells=placed, counts=known.flip(2)), cells) > 1


@pytest.mark.parametrize("carried", [True, False])
def test_a_probe_goes_on_learning_where_cells_are_told(carried):
    host = supernet()
    host.module.requires_grad_(True)
    probe = factory.Probe(host.module, host.size, "layer4", len(COLOURS), 1)
    units = len(factory.Grounds.of(host.outline, host.answers).site_of)
    second = factory.Customising(
        host, factory.Assembler(len(SPACE.names), units), 0.7, highest=HIGHEST, shared_head=True, probe=probe
    )
    batch = lessons().tasks(0)
    cells = torch.zeros(len(batch[0]), 1, 1, dtype=torch.long)
    with torch.enable_grad():
        second((*batch, cells) if carried else batch)["loss"].backward()
    assert (probe.placing.weight.grad is not None) == carried


@pytest.mark.slow
def test_gates_know_the_task(tmp_path):
    seed_everything(0)
    kit = trained(tmp_path, 60, 200)
    tasks = [
        SPACE.task([count, *pair])
        for count in COUNTS
        for pair in (("red", "green"), ("blue", "cyan"), ("pink", "grey"), ("red", "grey"))
    ]
    rankings = whose(kit, tasks)
    rates = {way: found.mean() for way, found in accuracies(kit, tasks, rankings, exam, (0.75,)).items()}
    assert rates["own"] > 0.8
    assert rates["own"] - max(rates["another's"], rates["mean"], rates["random"]) > 0.2
    assert not np.array_equal(rankings["another's"][0].order, rankings["own"][0].order)
