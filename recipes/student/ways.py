"""Ways of making a small UNet out of the emoji model's, and of training it: the one that ships, and its rivals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import nn

from intarsia import Plan, hosts, rig
from intarsia.lighten.distill import Weights
from intarsia.lighten.experts import with_experts
from intarsia.lighten.record import blocks_of
from intarsia.lighten.teach import Taught, teach
from intarsia.train import Schedule
from recipes.base.denoiser import LATE, NOISE, batches, channel_weights, told

EVEN = Weights()
BATCH = 32  # pictures a step and process


@dataclass(frozen=True)
class Way:
    """One way to a student.

    Attributes:
        copied: Whether it begins with its teacher's weights.
        experts: Whether removed kernels are inherited, mixed by time.
        weights: Of the losses.
        incubate: Share of the steps spent on one resolution after another inside the teacher.
    """

    copied: bool = True
    experts: bool = False
    weights: Weights = EVEN
    incubate: float = 0.0


WAYS = {
    "scratch": Way(copied=False, weights=Weights(1, 0, 0)),
    "task": Way(weights=Weights(1, 0, 0)),
    "bk-sdm": Way(weights=Weights(1, 1, 1, normalised=False)),
    "ours, no experts": Way(weights=Weights(1, 1, 0.1), incubate=0.2),
    "ours": Way(experts=True, weights=Weights(1, 1, 0.1), incubate=0.2),
}


def student_of(
    teacher: UNet2DConditionModel, plan: Plan, way: Way
) -> tuple[UNet2DConditionModel, dict[str, str], Mapping[str, Sequence[str]]]:
    """A student before training, the blocks of its teacher's that its own are compared with, and what it inherits."""
    donors: Mapping[str, Sequence[str]] = {}
    student, lineage = rig.bake(plan, hosts.of(teacher))
    pairs = blocks_of(student, lineage)
    if way.experts:
        student, donors = with_experts(student, teacher, lineage, routing="time")
    if not way.copied:
        torch.manual_seed(0)
        student = type(student).from_config(student.config)
    for module in student.modules():
        if isinstance(module, nn.Conv2d):  # kernels of experts have five dimensions, of which torch knows no such order
            module.to(memory_format=torch.channels_last)
    return student, pairs, donors


def train(
    way: Way,
    teacher: UNet2DConditionModel,
    plan: Plan,
    base: Path,
    out: Path,
    *,
    steps: int,
    batch: int = BATCH,
    rate: float = 4e-4,
    stop_after: float | None = None,
) -> tuple[UNet2DConditionModel, Taught]:
    """Train one student as its teacher was trained, on the base recipe's cached latents and words; resumes.

    Args:
        base: Where the base recipe keeps what it made.

    Returns:
        The student with its averaged weights, and how its training ended.
    """
    student, pairs, _ = student_of(teacher, plan, way)
    for unet in (student, teacher):
        unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
    done = teach(
        student, teacher, DDIMScheduler(**NOISE),
        batches(base / "pictures", base / "words", base / "latents", batch, cross=True), pairs,
        Schedule(steps, rate, warmup=100, cooldown=steps // 2, average=0.999), out,
        weights=way.weights, incubate=way.incubate, channel_weights=channel_weights(base / "latents"),
        late=LATE, tell=told, stop_after=stop_after,
    )  # fmt: skip
    for unet in (student, teacher):
        unet.set_attn_processor(AttnProcessor2_0())
    return student, done
