"""What kits, audits and trainings cannot be made of is told in words that are true of it."""

import pytest
import torch

from intarsia import FitError, factory
from intarsia.factory.audit import whose
from intarsia.hosts import timm_supernet

from .conftest import kit_of

PAIRS = (("red", "green"), ("blue", "grey"), ("green", "red"))


@pytest.mark.parametrize(("pairs", "count"), [((), 0), (PAIRS[:1], 1), (PAIRS[::2], 1)])
def test_an_audit_needs_another_task(kit, pairs, count):
    tasks, exam = [kit.space.task(pair) for pair in pairs], factory.choices(torch.randn(6, 3, 32, 32), torch.arange(6))
    for asked in (lambda: whose(kit, tasks), lambda: factory.audit(kit, tasks, exam, (1.0,))):
        with pytest.raises(FitError, match=f"{count} tasks to audit: give two or more different ones"):
            asked()


def test_two_tasks_are_enough(kit):
    tasks = [kit.space.task(pair) for pair in PAIRS[:2]]
    own, others = (whose(kit, tasks)[way] for way in ("own", "another's"))
    assert all((one.order != other.order).any() for one, other in zip(own, others, strict=True))


@pytest.mark.parametrize(
    ("architecture", "arguments", "says"),
    [
        (
            "deit_tiny_distilled_patch16_224",
            {"num_classes": 6},
            "two such layers, as in distilled models, take another",
        ),
        ("deit_tiny_patch16_224", {"num_classes": 0}, "Create it with num_classes=6"),
        ("deit_tiny_patch16_224", {"num_classes": 7}, "has 7 outputs, and the space names 6: red, .*num_classes=6"),
    ],
)
def test_a_training_whose_answers_cannot_be_told_apart_is_not_begun(architecture, arguments, says, tmp_path):
    host = timm_supernet.create(architecture, (3, 32, 32), img_size=32, depth=1, **arguments)
    with pytest.raises(FitError, match=says):
        factory.learned(
            host, kit_of().space, factory.Lessons(None, None), tmp_path, lowest=0.7, concepts=1, customising=1
        )
    assert not list(tmp_path.iterdir())
