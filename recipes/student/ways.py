"""Ways of making a small UNet out of the emoji model's, and of training it: the one that ships, and its rivals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from intarsia import Plan, hosts, rig
from intarsia.connect.learning import mean_losses
from intarsia.graphs.exporting import digest_of
from intarsia.keeping import keep_settings
from intarsia.lighten.distill import Distilling, Weights
from intarsia.lighten.experts import with_experts
from intarsia.lighten.record import blocks_of
from intarsia.lighten.teach import Taught, teach
from intarsia.plan.text import write_plan
from intarsia.train import Schedule, processes
from recipes.base.denoiser import LATE, NOISE, batches, channel_weights, told

EVEN = Weights()
# No task loss: a student that is near its teacher is pulled about by the noise that was added, and by little else.
NEAR = Weights(0, 1, 0.1)
BATCH = 32  # pictures a step and process
UNSEEN = 10_000  # seed of the noise that students are examined with: no training's, nor any stage's


@dataclass(frozen=True)
class Way:
    """One way to a student.

    Attributes:
        copied: Whether it begins with its teacher's weights.
        experts: Whether removed kernels are inherited, mixed by time: one by each convolution that one fits, for more
            would not fit into what may ship.
        weights: Of the losses.
        middle: Whether the middle block's features are compared; BK-SDM compares those on the way down and up.
        incubate: Share of the steps spent on one resolution after another inside the teacher.
        rate: The learning rate. Sought, as `incubate` is, by `screening.settled`.
    """

    copied: bool = True
    experts: bool = False
    weights: Weights = EVEN
    middle: bool = True
    incubate: float = 0.0
    rate: float = 4e-4


WAYS = {
    "scratch": Way(copied=False, weights=Weights(1, 0, 0)),
    "task": Way(weights=Weights(1, 0, 0)),
    "bk-sdm": Way(weights=Weights(1, 1, 1, normalised=False), middle=False),
    "ours, no experts": Way(weights=NEAR, incubate=0.2),
    "ours": Way(experts=True, weights=NEAR, incubate=0.2),
}


def student_of(
    teacher: UNet2DConditionModel, plan: Plan, way: Way
) -> tuple[UNet2DConditionModel, dict[str, str], Mapping[str, Sequence[str]]]:
    """A student before training, the blocks of its teacher's that its own are compared with, and what it inherits."""
    donors: Mapping[str, Sequence[str]] = {}
    student, lineage = rig.bake(plan, hosts.of(teacher))
    pairs = blocks_of(student, lineage)
    if not way.middle:
        pairs.pop("mid_block", None)
    if way.experts:
        student, donors = with_experts(student, teacher, lineage, routing="time", most=1)
    if not way.copied:
        torch.manual_seed(0)
        student = type(student).from_config(student.config)
    for module in student.modules():
        if isinstance(module, nn.Conv2d):  # kernels of experts have five dimensions, of which torch knows no such order
            module.to(memory_format=torch.channels_last)
    return student, pairs, donors


def lessons(base: Path, batch: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Batches as the teacher had them."""
    return batches(base / "pictures", base / "words", base / "latents", batch, cross=True)


def examined(student: UNet2DConditionModel, teacher: UNet2DConditionModel, base: Path, batch: int, draws: int) -> float:
    """How far a student's answers are from its teacher's, over batches that depend on nothing but their number."""
    objective = Distilling(
        student, teacher, DDIMScheduler(**NOISE), {}, Weights(1, 1, 0), channel_weights(base / "latents"), LATE, told
    )
    with torch.no_grad():
        return mean_losses(objective.eval(), lessons(base, batch), draws=draws, seed=UNSEEN)["output"]


def train(
    way: Way,
    teacher: UNet2DConditionModel,
    plan: Plan,
    base: Path,
    out: Path,
    *,
    steps: int,
    batch: int = BATCH,
    seed: int = 0,
    stop_after: float | None = None,
) -> tuple[UNet2DConditionModel, Taught]:
    """Train one student as its teacher was trained, on the base recipe's cached latents and words; resumes.

    Args:
        base: Where the base recipe keeps what it made.

    Returns:
        The student with its averaged weights, and how its training ended.

    Raises:
        CardError: what is in `out` was begun with another way, teacher, plan, seed or length.
    """
    begun = {**asdict(way), "teacher": digest_of(teacher), "plan": write_plan(plan), "steps": steps, "seed": seed}
    with processes().main_process_first():
        keep_settings(out, begun)
    student, pairs, _ = student_of(teacher, plan, way)
    for unet in (student, teacher):
        unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
    done = teach(
        student, teacher, DDIMScheduler(**NOISE),
        lessons(base, batch), pairs,
        Schedule(steps, way.rate, warmup=min(100, steps // 10), cooldown=steps // 2, average=0.999), out,
        weights=way.weights, incubate=way.incubate, channel_weights=channel_weights(base / "latents"),
        late=LATE, tell=told, seed=seed, stop_after=stop_after,
    )  # fmt: skip
    for unet in (student, teacher):
        unet.set_attn_processor(AttnProcessor2_0())
    return student, done
