"""Progressive incubation: each part of a student grows up inside its frozen teacher, then all of them go on together.

A part is one resolution: the way down through it and the way up, for the skip connections between them bind the two.
The hybrid is the teacher with one resolution of the student in its place, so that what the part learns is measured
at the teacher's own output from the first step. The middle block is no part: it learns when all go on together.

Source: A-SDM's predecessor trains pruned blocks progressively; Deep Incubation (Ni et al. 2023) trains a
module inside a frozen model. Taking a resolution as the part is ours.
"""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..errors import FitError
from ..hosts.assembled_unet import AssembledUNet
from ..rig.bare import bare_copy


def levels_that_differ(student: UNet2DConditionModel, teacher: UNet2DConditionModel) -> list[int]:
    """The resolutions in which a student is not its teacher: other parameters, or other values of the same.

    Raises:
        FitError: the student has another number of resolutions.
    """
    if len(student.down_blocks) != len(teacher.down_blocks):
        raise FitError("a student with another number of levels has no place in its teacher; train it without stages.")

    def parameters(model: UNet2DConditionModel, level: int) -> dict[str, Tensor]:
        return {
            f"{part}.{name}": value
            for part, path in enumerate(level_blocks(model, level))
            for name, value in model.get_submodule(path).named_parameters()
        }

    def differ(level: int) -> bool:
        ours, theirs = parameters(student, level), parameters(teacher, level)
        return ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours)

    return [level for level in range(len(teacher.down_blocks)) if differ(level)]


def level_blocks(model: UNet2DConditionModel, level: int) -> tuple[str, str]:
    """The block on the way down through a resolution, and the one on the way up."""
    return f"down_blocks.{level}", f"up_blocks.{len(model.down_blocks) - 1 - level}"


def hybrid(student: UNet2DConditionModel, teacher: UNet2DConditionModel, level: int) -> UNet2DConditionModel:
    """The teacher with one resolution of the student, which alone is to be trained.

    Parameters are shared, not copied: what is trained in the hybrid is trained in the student.
    """
    made = bare_copy(teacher)
    student.requires_grad_(False)
    teacher.requires_grad_(False)
    for path in level_blocks(student, level):
        block = student.get_submodule(path).requires_grad_(True)
        made.set_submodule(path, block)
    if isinstance(student, AssembledUNet):
        made.register_forward_pre_hook(student.be_at, with_kwargs=True)
    return made
