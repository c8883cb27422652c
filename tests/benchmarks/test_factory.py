"""What the benchmarks of the factory say, on figures and models that were made up so that the answers are known."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.factory import devices, rivals, scenarios, worlds
from benchmarks.factory.claims import (
    beside_plain,
    beside_rivals,
    claims_of,
    of_accuracy,
    of_cost,
    of_orders,
    of_seconds,
)
from benchmarks.factory.rows import Seed, Stage, middling, nearest, spread
from benchmarks.factory.timing import PAIRS, STEPS, seconds_over
from intarsia import RigError, factory, rig
from intarsia.factory import Grounds, Lessons, Ranking, Space, Task, choices
from intarsia.hosts import timm_supernet
from recipes.mosaics import questions
from tests.factory.conftest import kit_of


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


def test_the_nearest_task_and_far_places():
    tasks = [Task(parts, parts) for parts in ((0, 1), (1, 2), (0, 1, 2), (3, 4))]
    assert nearest(tasks[0], tasks) == tasks[2]
    assert spread(12, 2) == [0, 11]
    assert spread(5, 3) == [0, 2, 4]
    assert spread(1, 2) == [0]
    assert middling([0.9, 0.1, 0.5, 0.6, 0.4], 2) == [2, 4]
    assert middling([0.9, 0.1], 5) == [0, 1]


def test_rivals_of_mosaics_begin_as_the_supernet_did_and_are_told_the_digits(monkeypatch):
    digits = [torch.randn(3, 1, 16, 16) for _ in range(10)]
    monkeypatch.setattr(worlds, "read", lambda _data: (digits, digits))
    world = worlds.mosaic_world(Path(), 8)
    host, task = world.host(), world.tasks["seen"][0]
    assert world.shares == (0.15, 0.2, 0.3, 0.5, 0.7, world.highest)
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


def test_models_are_timed_in_pairs_so_drift_is_of_no_matter():
    now = count()
    clock = SimpleNamespace(seconds=lambda model, _inputs: model * 1.05 ** next(now))
    assert seconds_over(1.0, 4.0, (3, 8, 8), clock) == pytest.approx(0.25 / 1.05)
    assert next(now) == 2 * PAIRS


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


def test_what_is_over_its_budget_is_counted_and_not_read(own, monkeypatch):
    task, fulfil = own.tasks["seen"][0], factory.fulfil
    monkeypatch.setattr(scenarios, "in_seconds", lambda *_given: {})
    assert scenarios.timed(own.kit, task, 0.9, own.device("timing"), own.clock)["over budget"] is False
    largest = scenarios.made_at(own.kit, task, 1.0)
    monkeypatch.setattr(factory, "fulfil", lambda *given, **more: replace(fulfil(*given, **more), model=largest))
    assert scenarios.timed(own.kit, task, 0.9, own.device("timing"), own.clock)["over budget"] is True


def test_an_export_that_answers_otherwise_is_told(monkeypatch):
    kit = kit_of()
    order = factory.Order(kit.space.read("red, blue"), factory.Budget(macs=1e12))
    done = factory.fulfil(order, kit)
    assert scenarios.exported(order, done, kit, [])["export"] > 0

    def refused(*_given):
        raise RigError("onnx answers otherwise")

    monkeypatch.setattr(factory, "ship", refused)
    told = scenarios.exported(order, done, kit, ["onnx"])
    assert told == {"not exported": "onnx answers otherwise"}
    assert failing(of_seconds([timing(), timing(**told)], [DEVICE])) == [
        "models that another runtime answers otherwise"
    ]


def in_seconds(**changed):
    return {"budget": 1.0, "promised": 0.9, "afresh over budget": 1.01, "measured": 2, "assemble": 0.1, "bake": 0.1,
            "convert": 0.5, "measure": 1.0, **changed}  # fmt: skip


def timing(**changed):
    return {"in seconds": in_seconds(), "over budget": False, "assemble": 0.1, "bake": 0.1, **changed}


def rival(**changed):
    return {"assemble": 0.1, "bake": 0.1, "convert": 0.3, "measure": 0.5, "ours": 0.9, "pruned equal": 0.8,
            "scratch reached": 40.0, "scratch seconds": 40.0, **changed}  # fmt: skip


DEVICE = {"spearman": 0.99, "within_10": 0.97, "training seconds": 390.0}


def failing(claims):
    return [claim.name for claim in claims if not claim.holds]


def test_budgets_that_are_not_kept_are_told():
    assert not failing(of_seconds([timing()], [DEVICE]))
    for changed, said in (
        ({"over budget": True}, "over their budget of MACs"),
        ({"in seconds": in_seconds(**{"afresh over budget": 1.2})}, "measured afresh"),
        ({"in seconds": in_seconds(measure=5.0)}, "measured model, worst"),
        ({"in seconds": in_seconds(convert=5.0)}, "measured model, worst"),
        ({"in seconds": in_seconds(measured=99)}, "models measured"),
        ({"bake": 1.0}, "assemble and bake"),
    ):
        (name,) = failing(of_seconds([timing(), timing(**changed)], [DEVICE]))
        assert said in name
    refused = timing(**{"in seconds": {"budget": 1.0, "refused": 2.0}})
    assert not failing(of_seconds([timing(), refused], [DEVICE]))
    assert len(failing(of_seconds([refused], [DEVICE]))) == 2, "of no order that was met, nothing holds"
    for column, said in (("spearman", "rank correlation"), ("within_10", "within 10 %")):
        (name,) = failing(of_seconds([timing()], [DEVICE, DEVICE | {column: 0.9}]))
        assert said in name


def test_trainings_are_compared_with_both_seconds():
    first, second, paid = of_cost([rival()], [DEVICE])
    assert (first.value, second.value, paid.value) == (pytest.approx(200), pytest.approx(40), pytest.approx(10))
    given_up = of_cost([rival(**{"scratch reached": None, "scratch seconds": 120.0})], [DEVICE])
    assert given_up[0].value == pytest.approx(600)


def parts(unseen=0.01, **changed):
    """Rows of two shares, with what is lost where tasks were not seen."""
    return [
        {"seed": 0, "part": part, "share": share, "dense": 0.9, "own": own, "random": own - 0.1,
         "another's": own - 0.06, "mean": own - 0.06, **changed}
        for part, fall in (("seen", 0.0), ("unseen", unseen))
        for share, own in ((0.15, 0.86 - fall), (0.3, 0.88))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("apart", "things", "given", "plain", "said"),
    [
        (5.0, False, {}, [], []),
        (5.0, False, {}, [{"seen": 0.95}], ["30% of the MACs over that of the whole, seen", "15%"]),
        (5.0, False, {"unseen": 0.03}, [], ["unseen tasks are below seen ones, the worst share"]),
        (5.0, False, {"mean": 0.85}, [], ["above mean units"]),
        (None, False, {"mean": 0.85}, [], []),
        (None, False, {"random": 0.86}, [], ["above random units"]),
        (None, True, {"unseen": 0.03}, [], ["15% of the MACs over that of the whole, unseen"]),
    ],
)
def test_accuracy_is_kept_or_not(apart, things, given, plain, said):
    world = SimpleNamespace(kept={0.15: 0.93, 0.3: 0.97, 0.5: 1.0}, apart=apart, space=SimpleNamespace(things=things))
    names = failing(of_accuracy(world, parts(**given), plain))
    assert len(names) == len(said)
    assert all(any(part in name for name in names) for part in said)


def test_pruning_is_compared_at_every_share_where_something_has_to_go():
    rows = [rival(share=share, **{"pruned equal": pruned}) for share, pruned in ((0.3, 0.2), (0.5, 0.85), (1.0, 0.99))]
    assert not failing(beside_rivals(rows))
    rows[1]["pruned equal"] = 0.9
    assert failing(beside_rivals(rows)), "as good is not better"
    assert not beside_rivals(rows[:1])


def test_most_orders_of_seconds_are_met():
    assert not failing(of_orders([{"met": 0.6}, {"met": 0.9}]))
    assert failing(of_orders([{"met": 0.3}, {"met": 0.9}]))


def test_what_costs_no_more_is_not_pruned():
    kit, picture = kit_of(), torch.randn(2, 3, 32, 32)
    whole = rivals.pruned(kit.host.module, kit.host.size, kit.host.outline.macs)
    assert torch.equal(whole(picture), kit.host.module(picture))
    smaller = rivals.pruned(kit.host.module, kit.host.size, 0.9 * kit.host.outline.macs).eval()
    with rig.count_macs() as counted:
        smaller(picture[:1])
    assert counted.total <= 0.9 * kit.host.outline.macs


def test_the_largest_model_stands_beside_a_plain_one():
    parts = [{"part": "seen", "dense": 0.9}, {"part": "unseen", "dense": 0.1}]
    assert not beside_plain(parts, [])
    assert not failing(beside_plain(parts, [{"seen": 0.92}]))
    assert failing(beside_plain(parts, [{"seen": 0.95}]))


def order(device, share, **changed):
    return {"task": "sword", "fraction": 0.5, "share of MACs": share, "promised over budget": 0.99,
            "afresh over budget": 1.0, **dict.fromkeys(STEPS, 0.5), **changed}  # fmt: skip


def rows_of(*shares, again=0.01, **changed):
    many = [
        {"kind": "device", "device": name, "spearman": 0.99, "within_10": 1.0, "fastest over dense": 0.2,
         "orders": [order(name, share, **changed)]}
        for name, share in zip("abcd"[: len(shares)], shares, strict=True)
    ]  # fmt: skip
    again = {"kind": "again", "device": "again", "orders": [order("again", shares[0] + again)]}
    beside = {"kind": "classifier", "spearman": 0.99, "within_10": 1.0}
    exported = {"kind": "exported", "to": "onnx", "apart": 1e-5}
    return [*many, again, beside, {"kind": "pack", "switch milliseconds": 2.0}, exported]


def test_devices_choose_otherwise_or_alike():
    assert not failing(devices.claims_of(rows_of(0.4, 0.5)))
    assert len(failing(devices.claims_of(rows_of(0.5, 0.5)))) == 2
    (name,) = failing(devices.claims_of(rows_of(0.4, 0.5, again=0.04)))
    assert "measured twice" in name
    assert len(failing(devices.claims_of(rows_of(0.4, 0.5, convert=5.0)))) == 2
    assert len(failing(devices.claims_of(rows_of(0.4, 0.5, **{"afresh over budget": 1.1})))) == 2
    assert devices.choices(rows_of(0.4, 0.5)[:2])[1].split()[-2:] == ["40.0%", "50.0%"]


def test_devices_that_are_one_device_do_not_choose_otherwise_by_luck():
    draws, held = np.random.default_rng(0), 0
    for _ in range(200):
        rows = rows_of(0.5, 0.5, 0.5, 0.5)
        for row in rows[:5]:  # the last was measured again
            row["orders"] = [order(row["device"], draws.normal(0.5, 0.01)) | {"fraction": at} for at in range(9)]
        held += not failing(devices.claims_of(rows))
    assert held < 5


def test_orders_that_a_device_does_not_meet_are_told():
    refused = rows_of(0.4, 0.5)
    refused[0]["orders"] = [{"task": "sword", "fraction": 0.5, "refused": 1.0}]
    claims = devices.claims_of(refused)
    assert not np.isfinite(max(claim.value for claim in claims))
    assert "a: share of its orders that were met" in failing(claims)
    assert "the same over that of one device that was measured twice" in failing(claims)
    assert devices.choices(refused[:2])[1].split()[-2:] == ["none", "50.0%"]


def test_what_is_not_exported_alike_or_not_predicted_is_claimed_and_fails():
    rows = rows_of(0.4, 0.5)
    other = [{"kind": "exported", "to": "openvino", "refused": "answers otherwise"}]
    assert failing(devices.claims_of([*rows, *other])) == ["openvino: what boxes, in pixels, or scores differ by from "
                                                           "PyTorch's"]  # fmt: skip
    rows[3]["within_10"] = 0.9
    assert failing(devices.claims_of(rows)) == ["a classifier: share of held-out models predicted within 10 %"]
