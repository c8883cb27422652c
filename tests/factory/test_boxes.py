"""What a detector should answer, and what its answers mean."""

import pytest
import torch

from intarsia.factory.boxes import Cells, Found, Things, answering, found, losses
from intarsia.hosts.detector import BOX, Detector

SIZE = (3, 96, 96)
STRIDES = (8, 16, 32)


@pytest.fixture(scope="module")
def cells():
    return Cells.of(STRIDES, SIZE)


def perfect(cells, things, names=5):
    """The answers of a detector that knows: boxes of things, and sure names."""
    owner = answering(cells, things.boxes)
    answers = torch.full((1, len(owner), BOX + names), -20.0)
    answers[..., :BOX] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    mine = owner >= 0
    answers[0, mine, :BOX] = things.boxes[owner[mine]]
    answers[0, mine, BOX:] = things.names[owner[mine]] * 40 - 20
    return answers


THINGS = Things(
    torch.tensor([[10.0, 12.0, 40.0, 44.0], [50.0, 50.0, 80.0, 90.0], [4.0, 60.0, 20.0, 76.0]]),
    torch.tensor([[1.0, 0, 0, 1, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 1]]),
)


def test_cells_are_those_of_the_detector(cells):
    model = Detector("test_efficientnet", num_classes=5, width=16).eval()
    assert model.strides == STRIDES
    with torch.no_grad():
        assert model(torch.zeros(2, *SIZE)).shape == (2, len(cells.centres), BOX + 5)


def test_every_thing_has_cells_that_answer_for_it_and_lie_within_it(cells):
    owner = answering(cells, THINGS.boxes)
    assert set(owner.tolist()) == {-1, 0, 1, 2}
    for number, box in enumerate(THINGS.boxes):
        centres = cells.centres[owner == number]
        assert ((centres > box[:2]) & (centres < box[2:])).all()


def test_of_two_things_the_smaller_is_answered_for(cells):
    owner = answering(cells, torch.tensor([[20.0, 20.0, 60.0, 60.0], [32.0, 32.0, 48.0, 48.0]]))
    middle = (cells.centres == 36).all(1) | (cells.centres == 44).all(1)
    assert (owner[middle] == 1).all()


def test_large_things_are_the_coarse_levels(cells):
    owner = answering(cells, torch.tensor([[0.0, 0.0, 96.0, 96.0], [40.0, 40.0, 56.0, 56.0]]))
    assert cells.stride[owner == 0].min() > cells.stride[owner == 1].max()


def test_a_detector_that_knows_is_not_wrong_and_one_that_is_nearly_right_is_a_little(cells):
    answers = perfect(cells, THINGS)
    right = losses(answers, [THINGS], cells)
    assert max(right.values()) < 1e-4
    moved = answers.clone()
    moved[..., :BOX] += 2
    assert 0.01 < losses(moved, [THINGS], cells)["boxes"] < 0.5
    unsure = answers.clone()
    unsure[..., BOX:] *= 0.01
    assert losses(unsure, [THINGS], cells)["names"] > right["names"] + 0.1


def test_a_picture_of_nothing_costs_only_what_is_said_of_it(cells):
    nothing = Things(torch.zeros(0, 4), torch.zeros(0, 5))
    answers = torch.full((1, len(cells.centres), BOX + 5), -20.0)
    assert losses(answers, [nothing], cells)["boxes"] == 0
    assert losses(answers, [nothing], cells)["names"] < 1e-4
    assert losses(answers + 20, [nothing], cells)["names"] > 1


@pytest.mark.parametrize(
    ("groups", "rows"), [([[0]], [0, 2]), ([[0], [3]], [0]), ([[1]], [1]), ([[0, 1], [4]], [1, 2]), ([[2]], [])]
)
def test_what_is_asked_for_is_found_once(cells, groups, rows):
    (seen,) = found(perfect(cells, THINGS), groups, SIZE)
    assert isinstance(seen, Found)
    assert sorted(seen.boxes.tolist()) == sorted(THINGS.boxes[rows].tolist())
    assert (seen.scores > 0.99).all()


def test_boxes_end_where_the_picture_does(cells):
    answers = perfect(cells, THINGS)
    answers[..., :BOX] += torch.tensor([-50.0, -50.0, 50.0, 50.0])
    (seen,) = found(answers, [[0]], SIZE)
    assert seen.boxes.min() >= 0
    assert seen.boxes.max() <= 96
