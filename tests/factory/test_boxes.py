"""What a detector should answer, and what its answers mean."""

import pytest
import torch
import torch.nn.functional as F

from intarsia import FitError
from intarsia.factory.boxes import (
    Cells,
    Found,
    Things,
    answering,
    as_logits,
    crowded,
    fitting,
    found,
    losses,
    padded,
    sure_of,
)
from intarsia.hosts.detector import BOX, Detector

SIZE = (3, 96, 96)
STRIDES = (8, 16, 32)


@pytest.fixture(scope="module")
def cells():
    return Cells.of(STRIDES, SIZE)


def perfect(cells, things, names=5):
    """The answers of a detector that knows: boxes of things, and sure names."""
    owner = answering(cells, things.boxes[None])[0]
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
        answers = model(torch.zeros(2, *SIZE))
    assert answers.shape == (2, len(cells.centres), BOX + 5)
    reach = F.softplus(torch.ones(())) * cells.stride[:, None]  # as boxes begin
    assert torch.allclose(answers[1, :, :BOX], torch.cat([cells.centres - reach, cells.centres + reach], 1))


def test_a_backbone_that_keeps_channels_last():
    sizes = {"img_size": 64, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}
    model = Detector("swin_tiny_patch4_window7_224", num_classes=5, width=16, arguments=sizes).eval()
    with torch.no_grad():
        answers = model(torch.rand(2, 3, 64, 64))
    assert answers.shape == (2, sum((64 // stride) ** 2 for stride in model.strides), BOX + 5)


@pytest.mark.parametrize(
    ("backbone", "levels", "said"),
    [
        ("test_efficientnet", (3, 7), r"no features at levels \(3, 7\)"),
        ("test_convnext", (2, 3, 4), r"no features at levels \(2, 3, 4\)"),
        ("test_vit", (-3, -2, -1), r"cells of \[16, 16, 16\] pixels"),
        ("test_resnet", (4, 3), "must be larger than"),
    ],
)
def test_levels_that_are_none_are_refused(backbone, levels, said):
    with pytest.raises(FitError, match=said):
        Detector(backbone, num_classes=5, levels=levels)


def test_every_thing_has_cells_that_answer_for_it_and_lie_within_it(cells):
    owner = answering(cells, THINGS.boxes[None])[0]
    assert set(owner.tolist()) == {-1, 0, 1, 2}
    for number, box in enumerate(THINGS.boxes):
        centres = cells.centres[owner == number]
        assert ((centres > box[:2]) & (centres < box[2:])).all()


def test_of_two_things_the_smaller_is_answered_for(cells):
    owner = answering(cells, torch.tensor([[[20.0, 20.0, 60.0, 60.0], [32.0, 32.0, 48.0, 48.0]]]))[0]
    middle = (cells.centres == 36).all(1) | (cells.centres == 44).all(1)
    assert (owner[middle] == 1).all()


def test_large_things_are_the_coarse_levels(cells):
    owner = answering(cells, torch.tensor([[[0.0, 0.0, 96.0, 96.0], [40.0, 40.0, 56.0, 56.0]]]))[0]
    assert cells.stride[owner == 0].min() > cells.stride[owner == 1].max()


def wrong(answers, things, cells):
    boxes, names = padded([things])
    return losses(answers[..., BOX:], answers[..., :BOX], answering(cells, boxes), names, boxes)


def test_a_detector_that_knows_is_not_wrong_and_one_that_is_nearly_right_is_a_little(cells):
    answers = perfect(cells, THINGS)
    right = wrong(answers, THINGS, cells)
    assert max(right.values()) < 1e-4
    moved = answers.clone()
    moved[..., :BOX] += 2
    assert 0.01 < wrong(moved, THINGS, cells)["boxes"] < 0.5
    unsure = answers.clone()
    unsure[..., BOX:] *= 0.01
    assert wrong(unsure, THINGS, cells)["names"] > right["names"] + 0.1


def test_a_picture_of_nothing_costs_only_what_is_said_of_it(cells):
    nothing = Things(torch.zeros(0, 4), torch.zeros(0, 5))
    answers = torch.full((1, len(cells.centres), BOX + 5), -20.0)
    assert wrong(answers, nothing, cells)["boxes"] == 0
    assert wrong(answers, nothing, cells)["names"] < 1e-4
    assert wrong(answers + 20, nothing, cells)["names"] > 1


def test_within_a_crowd_nothing_is_wrong_that_it_may_hold_but_its_known_things_count(cells):
    boxes, names = padded([THINGS])
    crowd = torch.tensor([[[0.0, 0, 96, 48]]]), torch.tensor([[[1.0, 0, 0, 0, 0]]])
    unknown = crowded(cells, *crowd)
    assert torch.equal(unknown[0, :, 0], cells.centres[:, 1] < 48)
    assert not unknown[..., 1:].any()
    owner = answering(cells, boxes)

    def named(answers):
        return losses(answers[..., BOX:], answers[..., :BOX], owner, names, boxes, unknown)["names"]

    answers = perfect(cells, THINGS)
    rest = (owner[0] < 0) & unknown[0, :, 0]
    answers[0, rest, BOX] = 20
    assert named(answers) < 1e-4
    for cell, kind in ((rest, 1), (~unknown[0, :, 0] & (owner[0] < 0), 0), (owner[0] == 0, 0)):
        other = answers.clone()
        other[0, cell, BOX + kind] *= -1
        assert named(other) > 0.1


@pytest.mark.parametrize(
    ("groups", "rows"), [([[0]], [0, 2]), ([[0], [3]], [0]), ([[1]], [1]), ([[0, 1], [4]], [1, 2]), ([[2]], [])]
)
def test_what_is_asked_for_is_found_once(cells, groups, rows):
    (seen,) = found(perfect(cells, THINGS), groups, SIZE)
    assert isinstance(seen, Found)
    assert sorted(seen.boxes.tolist()) == sorted(THINGS.boxes[rows].tolist())
    assert (seen.scores > 0.99).all()


ASKED = torch.tensor([[[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]])  # one of two classes, and an attribute


def test_groups_are_alternatives_and_all_must_fit():
    logits = torch.randn(1, 7, 5)
    likely = logits.sigmoid()
    wanted = likely[..., :2].amax(2) * likely[..., 4]
    assert torch.allclose(sure_of(logits, ASKED).exp(), wanted)
    assert torch.allclose(as_logits(sure_of(logits, ASKED)).sigmoid(), wanted)
    alone = torch.tensor([[[0.0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]])  # a group that is not asked about is of no matter
    assert torch.allclose(as_logits(sure_of(logits, alone)), logits[..., 2], atol=1e-5)
    assert fitting(THINGS.names[None], ASKED).tolist() == [[0, 1, 1]]
    assert fitting(THINGS.names[None], alone).tolist() == [[0, 0, 0]]


def test_what_is_not_asked_for_has_no_gradient_and_extremes_have_one():
    logits = torch.tensor([-80.0, 0.0, 80.0]).repeat(5, 1).T[None].clone().requires_grad_()
    with torch.enable_grad():
        as_logits(sure_of(logits, ASKED)).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[..., 2:4] == 0).all()
    assert (logits.grad[0, :2, 4] > 0).all()


def test_a_batch_of_pictures_is_answered_for_as_each_alone(cells):
    few = Things(THINGS.boxes[:1], THINGS.names[:1])
    none = Things(torch.zeros(0, 4), torch.zeros(0, 5))
    boxes, names = padded([THINGS, none, few])
    assert boxes.shape == (3, 3, 4)
    assert names.shape == (3, 3, 5)
    together = answering(cells, boxes)
    assert (together[1] == -1).all()
    for row, things in ((0, THINGS), (2, few)):
        assert torch.equal(together[row], answering(cells, things.boxes[None])[0])
    assert padded([none])[0].shape == (1, 1, 4)


def test_boxes_end_where_the_picture_does(cells):
    answers = perfect(cells, THINGS)
    answers[..., :BOX] += torch.tensor([-50.0, -50.0, 50.0, 50.0])
    (seen,) = found(answers, [[0]], SIZE)
    assert seen.boxes.min() >= 0
    assert seen.boxes.max() <= 96
