"""One sprite a picture: choices of classes, and questions about class and colour, on a few real tiles."""

from pathlib import Path

import pytest
import torch

from benchmarks.factory.worlds import WORLDS
from recipes.kits import choices_split, without
from recipes.sprites import run_alone
from recipes.sprites.alone import (
    CHOICES,
    QUESTIONS,
    UNASKED,
    answered,
    maps_of,
    question_exam,
    question_lessons,
    question_split,
    shown,
)
from recipes.sprites.run_alone import Kind, main
from recipes.sprites.scenes import UNSEEN
from recipes.sprites.sprites import CLASSES, NAMES


def test_pictures_hold_one_sprite_each_and_only_exams_have_unseen_pairs(sprites):
    for tested, count in ((False, 300), (True, 600)):
        known = shown(sprites, count, tested=tested)
        assert known.pictures.shape == (count, 3, 32, 32)
        assert len(known.classes) == len(known.colours) == count
        pairs = set(zip(known.classes.tolist(), known.colours.tolist(), strict=True))
        assert bool(pairs & set(UNSEEN)) == tested
        assert set(known.classes.tolist()) == set(range(len(CLASSES)))


def test_half_of_the_answers_are_yes_and_true_and_some_of_the_others_are_nearly_right(sprites):
    known = shown(sprites, 600, tested=True)
    parts = question_split(known)
    assert len(parts["hard"]) == len(UNSEEN)
    assert len(parts["unseen"]) == len(UNASKED)
    assert len(parts["seen"]) == len(CLASSES) * len(NAMES) - len(UNSEEN) - len(UNASKED)
    torch.manual_seed(0)
    learned = shown(sprites, 300)
    made = question_lessons(learned, 96, 12)
    pictures, answers, codes, cells = made.tasks(0)
    assert pictures.shape == (96, 3, 32, 32)
    asked = codes.repeat_interleave(8, 0)
    classes, colours = (cells.flatten() // len(NAMES), cells.flatten() % len(NAMES))
    rows = torch.arange(96)
    right = asked[rows, classes] + asked[rows, len(CLASSES) + colours]
    assert ((right == 2) == answers.bool()).all()
    assert answers.sum() == 48
    assert 10 < (right == 1).sum() < 40
    task = QUESTIONS.read("red, axe")
    right = (known.classes == 0) & (known.colours == 0)
    assert torch.equal(answered(task, maps_of(known)).bool(), right)
    assert torch.equal(question_exam(known, 20)(task)[0], question_exam(known, 20)(task)[0])


def test_unseen_questions_are_in_pictures_but_not_asked_and_hard_ones_are_in_none(sprites):
    learned = shown(sprites, 600)
    there = set(zip(learned.classes.tolist(), learned.colours.tolist(), strict=True))
    assert set(UNASKED) <= there
    assert not there & set(UNSEEN)
    made, seen = question_lessons(learned, 96, 12), set(question_split(learned)["seen"])
    torch.manual_seed(0)
    asked = {tuple(code.nonzero().flatten().tolist()) for draw in range(20) for code in made.tasks(draw)[2]}
    assert asked == {task.parts for task in seen}
    for place in zip(*UNASKED, strict=True):
        assert len(set(place)) in (len(CLASSES), len(NAMES)), "every class and colour is asked about"


def test_unseen_choices_are_not_asked_for(sprites):
    from intarsia import factory

    known, held = shown(sprites, 200), choices_split(CHOICES)["unseen"]
    made = without(factory.choice_lessons(known.pictures, known.classes), held)
    torch.manual_seed(0)
    asked = {tuple(code.nonzero().flatten().tolist()) for draw in range(60) for code in made.tasks(draw)[2]}
    assert not asked & {task.parts for task in held}
    assert len({len(parts) for parts in asked}) == 4
    assert CHOICES.outputs == tuple(CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
def test_the_recipe_runs(tmp_path, kind):
    with torch.enable_grad():
        main(
            kind, data=Path(__file__).parent, runs=tmp_path, out=None, pictures=200, concepts=2,
            customising=2, batch=48, minutes=None, tested=100, threads=1,
        )  # fmt: skip
    assert (tmp_path / "kit/README.md").exists()


@pytest.mark.parametrize(("name", "parts"), [("classes", [60, 30]), ("questions", [48, 12, 12])])
def test_its_world_has_tasks_of_all_parts_and_a_loss_for_each(name, parts, monkeypatch):
    monkeypatch.setattr(run_alone, "PICTURES", 1000)
    world = WORLDS[name](Path(__file__).parent, 100)
    assert list(map(len, world.tasks.values())) == parts
    for tasks in world.tasks.values():
        model = world.host().module
        if world.aid is not None:
            world.aid(model)
            assert world.probe is run_alone.probe
        assert world.loss(model, tasks[-1], 8) > 0
        pictures, marks = world.exam(tasks[-1])
        assert 0 < marks(model(pictures)[:, : len(tasks[-1].answers)]) < 1
