"""What is measured of a kit, row by row: which tasks and shares, what is timed, and what is kept."""

from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from benchmarks.factory import rows, scenarios, worlds
from benchmarks.factory.claims import claims_of
from benchmarks.factory.rows import Seed, Stage, middling, nearest, spread
from benchmarks.factory.timing import PAIRS, STILL, TRIES, seconds_over, while_still
from intarsia import RigError, factory
from intarsia.factory import Lessons, Task, choices
from tests.factory.conftest import kit_of


def test_the_nearest_task_and_far_places():
    tasks = [Task(parts, parts) for parts in ((0, 1), (1, 2), (0, 1, 2), (3, 4))]
    assert nearest(tasks[0], tasks) == tasks[2]
    assert spread(12, 2) == [0, 11]
    assert spread(5, 3) == [0, 2, 4]
    assert spread(1, 2) == [0]
    assert middling([0.9, 0.1, 0.5, 0.6, 0.4], 2) == [2, 4]
    assert middling([0.9, 0.1], 5) == [0, 1]


def test_models_are_timed_in_pairs_so_drift_is_of_no_matter():
    now = count()
    clock = SimpleNamespace(seconds=lambda model, _inputs: model * 1.05 ** next(now))
    assert seconds_over(1.0, 4.0, (3, 8, 8), clock) == pytest.approx(0.25 / 1.05)
    assert next(now) == 2 * PAIRS


def test_to_a_blind_assembler_all_tasks_are_alike_however_many_groups_they_name():
    grounds, names = kit_of().grounds, ("red", "blue", "bar", "square")
    space = factory.Space(names, groups=(names[:2], names[2:]), things=True)
    assembler = factory.Assembler.of(space, grounds).eval()
    tasks = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
    seeing = assembler.double()(tasks.double())
    worlds.shut_eyes(assembler)
    first, *others = assembler(tasks.double())
    assert first.std() > 0.5
    assert all(torch.equal(first.argsort(), other.argsort()) for other in others)
    assert not torch.equal(seeing[0].argsort(), seeing[1].argsort())
    assert not assembler.parts.weight.requires_grad


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A kit that learned nothing, and a world of choices between six colours for it."""
    kit, answers = kit_of(), torch.arange(60) % 6
    pictures = torch.randn(60, 3, 32, 32)
    tasks = [kit.space.task(pair) for pair in (("red", "green"), ("blue", "grey"), ("cyan", "pink"), ("red", "pink"))]
    world = SimpleNamespace(
        name="colours", space=kit.space, tasks={"seen": tasks[:2], "unseen": tasks[2:]}, known=tasks, apart=None,
        exam=choices(pictures, answers), kept={}, plain=0.0, aid=None, rate=2e-3, probe=None,
        host=lambda: kit_of().host,
        loss=worlds.choosing(worlds.labelled(pictures, answers)),
        lessons=Lessons(lambda _draw: (pictures, answers), lambda _draw: (torch.randn(300, 3, 32, 32),)),
    )  # fmt: skip
    monkeypatch.setattr(scenarios, "exported", lambda *_given: {"export": 0.1})
    settings = {"quick": True, "shares": (1.0,), "trained": 1, "patience": 0.01}
    return Seed(world, kit, 0, tmp_path / "rows", tmp_path / "devices", 60.0, settings)


def test_stages_can_be_run_apart_and_make_one_result(own, monkeypatch):
    timings, parts, rest = (own.rows(None, [stage]) for stage in Stage)
    assert [row["kind"] for row in timings] == ["device"] + 2 * ["timing"] + ["orders"]
    assert 0 <= timings[-1]["met"] <= 1
    assert {row["part"] for row in parts} == {"seen", "unseen"}
    whole = parts[0]
    assert {"dense", "own", "another's", "mean", "random", "nearest"} <= whole.keys()
    assert whole["own"] == whole["mean"] == whole["random"] == whole["dense"]
    assert {"ours", "scratch", "tuned", "pruned 60", "pruned equal", "assemble"} <= rest[0].keys()
    claims_of(own.world, [*timings, *parts, *rest])
    monkeypatch.setattr("benchmarks.factory.rows.accuracies", None)
    monkeypatch.setattr("benchmarks.factory.scenarios.taught", None)
    again = Seed(own.world, own.kit, 0, own.runs, own.devices, 60.0, own.settings)
    assert again.rows(None, list(Stage)) == [*timings, *parts, *rest], "rows are kept"


def test_rows_of_other_weights_are_others(own):
    kept = own.kept
    for module in (own.kit.host.module, own.kit.assembler):
        next(module.parameters()).data.add_(1)
        other = Seed(own.world, own.kit, 0, own.runs, own.devices, 60.0, own.settings).kept
        assert other != kept
        kept = other


def test_rows_of_other_pictures_are_others(own):
    exam = own.world.exam
    own.world.exam = lambda task: (2 * exam(task)[0], exam(task)[1])
    changed = Seed(own.world, own.kit, 0, own.runs, own.devices, 60.0, own.settings).kept
    own.world.exam = exam
    assert own.kept != changed


def test_every_share_is_timed_and_of_other_seeds_some_stand_beside_rivals(own, monkeypatch):
    shares = (0.6, 0.7, 0.8, 0.9, 1.0)
    for name, place in {"timed": 2, "beside": 3}.items():  # where the share stands among what is given
        monkeypatch.setattr(rows, name, lambda *given, place=place: {"share": given[place]})
    for seed, some in ((0, shares), (1, (0.6, 0.8, 1.0))):
        one = replace(own, seed=seed, settings=own.settings | {"shares": shares})
        assert tuple(row["share"] for row in one.scenarios("timing")) == 2 * shares
        assert tuple(row["share"] for row in one.scenarios("rivals")) == 2 * some


def test_seconds_are_of_the_largest_model_there_is(own):
    """Of a kit whose largest has nine tenths of the MACs, an order at nine tenths is for all of its seconds."""
    task, clock = own.tasks["seen"][0], factory.MacsClock()
    device = factory.meter_device(own.kit.host, subnets=24, clock=clock)
    kit = replace(own.kit, highest=0.9, lowest=0.5)
    found = scenarios.in_seconds(kit, task, 0.9, device, clock)
    whole = clock.seconds(scenarios.made_at(kit, task, 0.9), torch.zeros(1, *kit.host.size))
    assert found["budget"] == pytest.approx(whole)
    assert found["afresh over budget"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("measured", "tries", "budget"),
    [([4, 4.04], 1, 4), ([4, 5, 5, 5], 2, 5), ([4, 3, 3, 4, 4, 4], 3, 4), ([1, 2] * TRIES, TRIES, 1)],
)
def test_rows_of_seconds_are_of_a_while_that_held_still(measured, tries, budget):
    """Those of a machine that grew faster or slower meanwhile are made anew, whatever they say."""
    left = iter(measured)
    row = while_still(lambda: next(left), lambda dense: {"budget": dense})
    assert (row["budget"], row["tries"], next(left, None)) == (budget, tries, None)
    assert (abs(row["drift"]) <= STILL) == (tries < TRIES)


def test_what_is_over_its_budget_is_counted_and_not_read(own, monkeypatch):
    task, fulfil = own.tasks["seen"][0], factory.fulfil
    monkeypatch.setattr(scenarios, "in_seconds", lambda *_given: {})
    assert scenarios.timed(own.in_use, task, 0.9, own.device("timing"), own.clock)["over budget"] is False
    largest = scenarios.made_at(own.in_use, task, 1.0)
    monkeypatch.setattr(factory, "fulfil", lambda *given, **more: replace(fulfil(*given, **more), model=largest))
    assert scenarios.timed(own.in_use, task, 0.9, own.device("timing"), own.clock)["over budget"] is True


def test_an_export_that_answers_otherwise_is_told(monkeypatch):
    kit = kit_of()
    order = factory.Order(kit.space.read("red, blue"), factory.Budget(macs=1e12))
    done = factory.fulfil(order, kit)
    assert scenarios.exported(order, done, kit, [])["export"] > 0

    def refused(*_given):
        raise RigError("onnx answers otherwise")

    monkeypatch.setattr(factory, "ship", refused)
    assert scenarios.exported(order, done, kit, ["onnx"]) == {"not exported": "onnx answers otherwise"}
