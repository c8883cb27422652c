"""The objectives learn, resume to the bit, and cut as orders are cut."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from intarsia import CardError, FitError, Unfinished, factory, rig
from intarsia.factory import course
from intarsia.factory.audit import WAYS, audit, overlap
from intarsia.factory.cuts import Cuts, by_site, masks_of, straight_through, strata, trained_masks
from intarsia.factory.exams import own_answers
from intarsia.factory.ranking import Ranking
from intarsia.factory.task import codes_of
from intarsia.train import Schedule, fit

from .conftest import KINDS, apart, detector_kit, kit_of


def coloured(count, answers=None):
    """Plain pictures of six colours under noise, and which colour each is."""
    shades = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0.5, 1], [0.5, 0.5, 0.5]])
    answers = torch.randint(6, (count,)) if answers is None else answers
    return 2 * shades[answers][:, :, None, None] - 1 + 0.3 * torch.randn(len(answers), 3, 32, 32), answers


def asked(_draw, tasks=6, each=6):
    """A batch of random pairs of colours."""
    codes, answers = torch.zeros(tasks, 6), []
    for row in range(tasks):
        pair = torch.randperm(6)[:2]
        codes[row, pair] = 1
        answers.append(pair[torch.randint(2, (each,))])
    return *coloured(0, torch.cat(answers)), codes


def scenes(_draw, count=6):
    """Noise with a red square and a blue bar in it, anywhere: a batch for `Naming`."""
    pictures, places = torch.randn(count, 3, 64, 64), torch.randint(40, (count, 2, 2))
    boxes = torch.cat([places, places + torch.tensor([[16, 16], [24, 8]])], 2)
    for picture, both in zip(pictures, boxes.tolist(), strict=True):
        for channel, (left, top, right, bottom) in zip((0, 2), both, strict=True):
            picture[channel, top:bottom, left:right] += 2
    return pictures, boxes.float(), torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]).repeat(count, 1, 1)


def sought(draw, each=2):
    """The same, and three tasks: a batch for `Seeking`."""
    codes = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
    return *scenes(draw, each * len(codes)), codes


def to_train(kit, layout=torch.contiguous_format):
    kit.host.module.requires_grad_(True).to(memory_format=layout)
    return kit


def objective(layout=torch.contiguous_format, **more):
    kit = to_train(kit_of(), layout)
    return kit, factory.Customising(kit.host, kit.assembler, kit.lowest, **more)


def naming():
    kit = to_train(detector_kit())
    return kit, factory.Naming(kit.host, kit.lowest)


def seeking(layout=torch.contiguous_format):
    kit = to_train(detector_kit(), layout)
    return kit, factory.Seeking(kit.host, kit.assembler, kit.space.groups_of(kit.space.names), kit.lowest)


def train(objective, batches, out, steps, **more):
    with torch.enable_grad():
        return fit(objective, batches, Schedule(steps, 2e-3, warmup=2), out, log_every=2, **more)


@pytest.mark.parametrize(
    ("made", "batch", "more"),
    [
        (objective, asked, {}),
        (objective, asked, {"begins": 0.9, "easing": 8}),
        (objective, asked, {"layout": torch.channels_last}),
        (naming, scenes, {}),
        (seeking, sought, {"layout": torch.channels_last}),
    ],
)
def test_a_killed_run_goes_on_to_the_bit(tmp_path, made, batch, more):
    def killed(draw):
        if draw == 3:
            raise KeyboardInterrupt
        return batch(draw)

    train(made(**more)[1], batch, tmp_path / "whole", 4)
    with pytest.raises(KeyboardInterrupt):
        train(made(**more)[1], killed, tmp_path / "cut", 4, save_every=2)
    train(made(**more)[1], batch, tmp_path / "cut", 4)
    for kind in ("live", "average", "moments", "buffers"):
        whole, cut = (load_file(tmp_path / run / f"checkpoint/{kind}.safetensors") for run in ("whole", "cut"))
        assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_budgets_begin_high_and_fall():
    kit, second = objective(begins=0.9, easing=2)
    shares = []
    for _ in range(4):
        shares.append(second.least())
        second(asked(0, each=1))
    assert shares == pytest.approx([0.9, (0.9 * kit.lowest) ** 0.5, kit.lowest, kit.lowest])
    scores, offered = torch.randn(3, len(kit.grounds.site_of)), torch.ones(3, 6)
    large, raised = second.cuts.gates(scores, offered, 1.0)
    assert torch.equal(raised, large)
    assert second.cuts.gates(scores, offered)[1].sum() < large.sum()


def test_concepts_then_customising_and_accuracy_by_budget_is_logged(tmp_path):
    torch.manual_seed(1)
    kit, second = objective()
    first = factory.Concepts(kit.host, kit.lowest)
    train(first, lambda _: coloured(32), tmp_path / "first", 12)
    before = kit.assembler.parts.weight.clone()
    train(second, asked, tmp_path / "second", 12)
    rows = [json.loads(line) for line in (tmp_path / "second/log.jsonl").read_text().splitlines()]
    assert {"accuracy_largest", "accuracy_70%_to_79%", "accuracy_89%_to_100%"} <= rows[-1].keys()
    assert rows[-1]["accuracy_largest"] > 0.7
    assert not torch.equal(before, kit.assembler.parts.weight)  # gates are learned through the cut
    pictures, answers = coloured(96)
    factory.refreshed(kit.host.module, pictures)
    tasks = [kit.space.task(pair) for pair in (("red", "green"), ("blue", "grey"), ("cyan", "pink"))]
    looks, exam = [], factory.choices(pictures, answers)

    def looked_at(task):
        shown, marks = exam(task)
        return shown, lambda said: looks.append(task) or marks(said)

    told = audit(kit, tasks, looked_at, (0.75, 1.0))
    assert len(looks) == len(tasks) * (len(WAYS) + 1), "the whole is one model, whosever units they are"
    assert set(told.accuracy) == set(WAYS)
    assert told.accuracy["own"][1] > 0.7
    assert told.overlap[0] < 1  # tasks differ in their units
    marked = [own_mark(kit, task, pictures, answers, 0.75) for task in tasks]
    assert told.accuracy["own"][0] == pytest.approx(np.mean(marked))
    with pytest.raises(FitError, match=r"was not trained for: from 70.0% to 100% was"):
        audit(kit, tasks, factory.choices(pictures, answers), (0.5,))


def own_mark(kit, task, pictures, answers, share):
    """How often an order's model is right."""
    ranking = kit.assembler.rank([task], kit.grounds)[0]
    order = factory.Order(task, factory.Budget(macs=share * float(ranking.costs["macs"][-1])))
    asked = torch.isin(answers, torch.tensor(task.answers))
    said = factory.fulfil(order, kit).model(pictures[asked]).argmax(1)
    return float((torch.tensor(task.answers)[said] == answers[asked]).float().mean())


def learned(out, stop_after=None, kit=None, built=(), **told):
    kit = kit or kit_of(**dict(built))
    lessons = factory.Lessons(lambda _: coloured(4), lambda draw: asked(draw, each=1))
    if kit.space.things:
        lessons = factory.Lessons(scenes, lambda draw: sought(draw, each=1))
    told = {"lowest": kit.lowest, "concepts": 2, "customising": 2, **told}
    with torch.enable_grad():
        return factory.learned(kit.host, kit.space, lessons, out, stop_after=stop_after, **told)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a finished run."""
    learned(out := tmp_path_factory.mktemp("begun"))
    return out


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        *(("concepts", changed) for changed in ({"lowest": 0.8}, {"rate": 1e-3}, {"seed": 1}, {"concepts": 3})),
        *(("customising", changed) for changed in ({"highest": 0.9}, {"begins": 0.9}, {"customising": 3})),
        ("concepts", {"built": {"drop_rate": 0.1}}),
    ],
)
def test_another_run_is_not_taken_for_this_one(begun, stage, changed):
    with pytest.raises(CardError, match=f"{stage} was begun with other settings: "):
        learned(begun, **changed)


def test_a_run_begins_alike_and_ends_where_pictures_are(tmp_path, monkeypatch):
    places, anew = [], course.statistics_anew
    monkeypatch.setattr(factory.Customising, "to", lambda self, to: places.append(to) or self)
    monkeypatch.setattr(course, "statistics_anew", lambda model: places.append("anew") or anew(model))
    kits = []
    for number in range(2):
        kit = kit_of()
        torch.manual_seed(number)
        kits.append(learned(tmp_path / str(number), kit=kit))
    assert places[-2:] == ["cpu", "anew"], "whatever it was moved to before"
    pairs = zip(*(kit.assembler.state_dict().values() for kit in kits), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_gates_go_where_what_they_shut_is():
    host = kit_of().host
    host.module.to("meta")
    masks = {path: torch.ones(host.outline.by_path[path].units) for path in host.gates}
    with rig.gated(host, masks):
        assert host.module(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 6)


@pytest.mark.parametrize("which", KINDS)
@pytest.mark.parametrize("stage", ["concepts", "customising"])
def test_a_stage_that_was_stopped_is_gone_on_with_before_the_next_begins(tmp_path, stage, which):
    steps = {"concepts": 2, "customising": 2, stage: 21}

    with pytest.raises(Unfinished, match=rf"{stage}: stopped after 20 of 21 steps\. Call it again"):
        learned(tmp_path, stop_after=0, kit=KINDS[which](), **steps)
    assert (tmp_path / "customising").exists() == (stage == "customising")
    kit = learned(tmp_path, kit=KINDS[which](), **steps)
    assert kit.card["steps"] == list(steps.values())
    assert kit.card["seconds"] > 0
    assert all(parameter.is_contiguous() for parameter in kit.host.module.parameters())  # whatever is faster to train


@pytest.mark.parametrize("which", KINDS)
def test_training_cuts_as_orders_do(which, request):
    kit = request.getfixturevalue(which)
    task = kit.space.read("red, blue")
    ranking = kit.assembler.rank([task], kit.grounds)[0]
    share = 0.8
    done = factory.fulfil(factory.Order(task, factory.Budget(macs=share * float(ranking.costs["macs"][-1]))), kit)
    masks = trained_masks([ranking], [ranking.cut_at_share(share)])
    cuts = Cuts(kit.grounds, ((share, share),), kit.highest, noise=0.0)
    code = codes_of([task], len(kit.space.names))
    offered = torch.zeros(1, len(kit.grounds.every_answer)).index_fill(1, torch.tensor(task.answers), 1.0)
    scores = kit.assembler(code)
    drawn = Ranking.by_score(kit.grounds, scores[0].double().numpy(), task.answers)
    for found, length in zip(
        cuts.gates(scores, offered), (drawn.cut_at_share(kit.highest), ranking.cut_at_share(share)), strict=True
    ):
        assert torch.equal(found, trained_masks([drawn], [length]))
    pictures = torch.randn(2, *kit.host.size)
    whole, ordered = own_answers(kit.space, kit.host.module(pictures), task), done.model(pictures)
    with rig.gated(kit.host, by_site(kit.grounds, masks.expand(2, -1))):
        gated = own_answers(kit.space, kit.host.module(pictures), task)
    assert max(apart(kit.host, gated, ordered)) <= 1e-5
    assert min(apart(kit.host, whole, ordered)) > 1e-3


def test_a_block_that_is_shut_in_training_still_hears_what_it_is_worth():
    deep_kit = kit_of(layers=(2, 2, 1, 1), grain=1, zero_init_last=False)
    ranking = deep_kit.assembler.rank([deep_kit.space.read("red, grey")], deep_kit.grounds)[0]
    cut = [ranking.cut_at_share(0.5)]
    kept = ranking.kept(*cut)
    shut = [block for block in deep_kit.host.blocks if not kept[block]]
    assert shut
    pictures = torch.randn(2, 3, 32, 32)

    def answered(masks):
        opened = by_site(deep_kit.grounds, masks.expand(2, -1))
        for block in shut:
            opened[block] = opened[block].clone().requires_grad_()
        with torch.enable_grad(), rig.gated(deep_kit.host, opened):
            answers = deep_kit.host.module(pictures)
            return answers, torch.autograd.grad(answers.square().sum(), [opened[block] for block in shut])

    answers, heard = answered(trained_masks([ranking], cut))
    plain, silence = answered(masks_of([ranking], cut))
    assert torch.equal(answers, plain)
    assert all(gradient.any() for gradient in heard)
    assert not any(gradient.any() for gradient in silence)
    inside = {deep_kit.grounds.sites[place] for place in deep_kit.grounds.site_of[ranking.inside]}
    assert inside.isdisjoint(deep_kit.host.blocks)


def test_gradients_go_straight_through():
    masks, threshold = torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([0.5])
    with torch.enable_grad():
        scores = torch.tensor([[3.0, 1.0, 0.0, -2.0]], requires_grad=True)
        gates = straight_through(scores, masks, threshold, 0.5)
        assert torch.allclose(gates, masks)
        gates.sum().backward()
    gradient = scores.grad[0]
    assert (gradient > 0).all()
    assert gradient[1] > gradient[0]  # nearer to the threshold
    with torch.enable_grad():
        whole = straight_through(scores, torch.ones(1, 4), torch.tensor([-torch.inf]), 0.5)
        scores.grad = None
        whole.sum().backward()
    assert torch.allclose(whole, torch.ones(1, 4))
    assert not scores.grad.any()


def test_models_that_keep_nothing_keep_the_same():
    vit = kit_of("test_vit", img_size=32)
    rankings = vit.assembler.rank([vit.space.read("red, blue"), vit.space.read("pink, grey")], vit.grounds)
    assert {ranking.cut_at_share(0) for ranking in rankings} == {0}
    assert overlap(rankings, 0) == 1


def test_low_budgets_come_often(kit):
    ranges = strata(kit.grounds, 0.6)
    assert [low for low, _ in ranges] == pytest.approx([0.6, 0.6 ** (2 / 3), 0.6 ** (1 / 3)])
    assert ranges[-1][1] == 1
    draws = np.concatenate([np.random.default_rng(0).uniform(low, high, 100) for low, high in ranges])
    assert (draws < 0.8).mean() > 0.5
    assert 0.4 < kit.grounds.floor < 0.6
    for lowest in (0.1, 1.5):
        with pytest.raises(FitError, match=r"this supernet's models have from .*% to 100%"):
            strata(kit.grounds, lowest)


@pytest.mark.parametrize(("made", "batch"), [(objective, asked), (seeking, sought)])
def test_batches_that_do_not_divide_are_refused(made, batch):
    _, second = made()
    *shown, codes = batch(0)
    with pytest.raises(FitError, match="give each task as many"):
        second((*(part[:-1] for part in shown), codes))
