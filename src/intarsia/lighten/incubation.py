"""Progressive incubation: each part of a student grows up inside its frozen teacher, then all of them go on together.

A part is one resolution: the way down through it and the way up, for the skip connections between them bind the two.
The hybrid is the teacher with one resolution of the student in its place, so that what the part learns is measured
at the teacher's own output from the first step.

Source: A-SDM's predecessor trains pruned blocks progressively; Deep Incubation (Ni et al. 2023) trains a
module inside a frozen model. Taking a resolution as the part is ours.
"""

from typing import Any

from diffusers import UNet2DConditionModel

from ..errors import FitError
from ..hosts.assembled_unet import AssembledUNet
from ..rig.bare import bare_copy


def levels_that_differ(student: UNet2DConditionModel, teacher: UNet2DConditionModel) -> list[int]:
    """The resolutions in which a student has other parameters than its teacher.

    Raises:
        FitError: the student has another number of resolutions.
    """
    if len(student.down_blocks) != len(teacher.down_blocks):
        raise FitError("a student with another number of levels has no place in its teacher; train it without stages.")

    def shapes(model: UNet2DConditionModel, level: int) -> dict[str, Any]:
        return {
            f"{part}.{name}": value.shape
            for part, path in enumerate(level_blocks(model, level))
            for name, value in model.get_submodule(path).named_parameters()
        }

    return [level for level in range(len(teacher.down_blocks)) if shapes(student, level) != shapes(teacher, level)]


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
