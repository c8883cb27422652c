"""Lessons and exams in finding sprites, on a few real tiles."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from benchmarks.factory.worlds import sought
from intarsia import FitError
from recipes.sprites.lessons import SPACE, asked_of, exam_of, examined, fitting_rows, lessons, split, task_of
from recipes.sprites.scenes import UNSEEN
from recipes.sprites.sprites import CLASSES, NAMES


@pytest.fixture
def pairs():
    return {(number, len(CLASSES) + colour) for number, colour in UNSEEN}


def test_pairs_for_tests_are_neither_asked_for_nor_shown(sprites, pairs):
    made = lessons(sprites, 12, 4)
    np.random.seed(0)
    for draw in range(5):
        *_, names, tasks = made.tasks(draw)
        asked = {tuple(code.nonzero().flatten().tolist()) for code in tasks}
        shown = {tuple(kind.nonzero().flatten().tolist()) for kind in names.flatten(0, 1) if kind.any()}
        assert not asked & pairs
        assert not shown & pairs
    parts = split(sprites)
    assert {task.parts for task in parts["unseen"]} == pairs
    assert not pairs & {task.parts for task in parts["seen"]}
    assert sum(map(len, parts.values())) == len(CLASSES) * len(NAMES) + len(CLASSES) + len(NAMES)


def test_exams_are_of_one_pair_a_class_that_was_seen_and_one_that_was_not(sprites):
    parts = examined(sprites)
    assert sum(map(len, parts.values())) == 30
    for part in ("seen", "unseen"):
        classes, colours = ([*chain(*some)] for some in zip(*map(asked_of, parts[part]), strict=True))
        assert sorted(classes) == list(range(len(CLASSES)))
        assert sorted(colours) == sorted(2 * list(range(len(NAMES))))
    assert {*parts["seen"], *parts["alone"]} <= set(split(sprites)["seen"])


def test_alternatives_are_asked_for_and_either_is_an_answer(sprites):
    made, known = lessons(sprites, 24, 24), set()
    np.random.seed(0)
    for draw in range(4):
        *_, tasks = made.tasks(draw)
        known |= {(int(code[: len(CLASSES)].sum()), int(code[len(CLASSES) :].sum())) for code in tasks}
    assert known == {(1, 1), (1, 0), (0, 1), (2, 0), (1, 2)}
    task, alone = SPACE.read("red, blue, sword"), SPACE.read("red sword")
    rows = fitting_rows(sprites, np.arange(len(sprites.classes)), task)
    assert {NAMES[colour] for colour in sprites.colours[rows]} == {"red", "blue"}
    assert {list(CLASSES)[number] for number in sprites.classes[rows]} == {"sword"}
    assert len(rows) > len(fitting_rows(sprites, np.arange(len(sprites.classes)), alone))
    shown, marks = exam_of(sprites, 12)(task)
    assert marks(torch.zeros(len(shown), 2, 7)) == 0  # and something is to be found


def test_who_learns_a_pair_that_is_unseen_is_shown_it(sprites):
    np.random.seed(0)
    for pair in UNSEEN[:2]:
        task = task_of(*pair)
        _, _, names = sought(sprites)(task, 16)
        assert names[..., list(task.parts)].all(2).any(1).float().mean() > 0.4


def test_the_same_draw_is_the_same_batch_and_exams_repeat_themselves(sprites):
    made = lessons(sprites, 8, 4)
    batches = []
    for _ in range(2):
        np.random.seed(3)
        batches.append(made.tasks(0))
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))
    task = SPACE.read("any colour sword")
    (shown, marks), (again, _) = (exam_of(sprites, 4)(task) for _ in range(2))
    assert torch.equal(shown, again)
    assert marks(torch.zeros(len(shown), 2, 5)) == 0


def test_tasks_that_no_sprite_for_tests_fits_are_left_out_and_cannot_be_examined(sprites):
    swords = sprites.classes == list(CLASSES).index("sword")
    without = replace(sprites, tested=sprites.tested & ~swords)
    left = {part: set(map(SPACE.spoken, tasks)) for part, tasks in split(without).items()}
    assert ("sword",) not in left["seen"]
    assert ("red",) in left["seen"]
    assert not any("sword" in names for names in left["seen"] | left["unseen"])
    with pytest.raises(FitError, match=r"no sprite here is what is asked for: sword\."):
        exam_of(without, 4)(SPACE.read("sword"))
