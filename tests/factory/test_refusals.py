"""What kits, audits and trainings cannot be made of is told in words that are true of it."""

import dataclasses

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


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"highest": 0.5}, "lowest 0.7 and highest 0.5"),
        ({"begins": 0.95, "highest": 0.8}, r"cannot begin at 95.0%: begin at 70.0%, where they end, to 80.0%"),
        ({"mean": (0.5,)}, "mean has 1 numbers where pictures have 3 channels"),
        ({"assembler": factory.Assembler(6, 3)}, "not for this space and supernet"),
    ],
)
def test_what_would_be_refused_after_a_training_is_refused_before(told, says, tmp_path):
    kit, told = kit_of(), {"lowest": 0.7, "concepts": 1, "customising": 1, **told}
    with pytest.raises(FitError, match=says):
        factory.learned(kit.host, kit.space, factory.Lessons(None, None), tmp_path, **told)
    assert not list(tmp_path.iterdir())


def test_an_assembler_that_groups_otherwise_would_rank_otherwise_when_read(thing_kit):
    one_group = factory.Assembler(len(thing_kit.space.names), thing_kit.assembler.units)
    with pytest.raises(FitError, match=r"make it by Assembler\.of"):
        dataclasses.replace(thing_kit, assembler=one_group)
