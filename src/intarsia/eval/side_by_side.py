"""The same prompts through a model as it is and under plans, with everything measured in one run."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn

from .. import hosts, rig
from ..errors import FitError
from ..graphs import applied_as_graphs
from ..graphs.backends import Ready
from ..plan import Bill, Plan, draw, price, resolve
from ..rig.machine import machine
from ..rig.meter import Seconds
from .drift import psnr

WHOLE = "whole"


@dataclass(frozen=True)
class SideBySide:
    """What came of it. Columns are `whole` and the plans' names, in that order.

    Attributes:
        pictures: For each column, one picture a prompt.
        bills: For each plan, the MACs of one picture.
        seconds: Of each column, interleaved.
        drift: For each plan, the PSNR in decibels of each picture to the whole model's.
        drawings: For each plan, its table.
        machine: Where it ran.
    """

    pictures: Mapping[str, Sequence[Image.Image]]
    bills: Mapping[str, Bill]
    seconds: Seconds
    drift: Mapping[str, Sequence[float]]
    drawings: Mapping[str, str]
    machine: Mapping[str, str | int]


def steps_for(scheduler: hosts.Sampler, rows: int) -> int:
    """The number of sampler steps that makes this many calls.

    Raises:
        FitError: no number of steps does.
    """
    for steps in range(rows, 0, -1):
        try:
            if hosts.rows(scheduler, steps) == rows:
                return steps
        except (ValueError, IndexError):
            continue  # some schedulers refuse very few steps
    raise FitError(f"no number of steps makes {type(scheduler).__name__} call the model {rows} times.")


def compare(
    pipe: DiffusionPipeline,
    prompts: Sequence[str],
    plans: Mapping[str, Plan],
    *,
    steps: int | None = None,
    guidance: float = 3.0,
    seed: int = 0,
    rounds: int = 3,
    backend: str | None = None,
    others: Mapping[str, nn.Module] | None = None,
    beside: nn.Module | None = None,
    say: Callable[[str], None] = print,
) -> SideBySide:
    """Draw every prompt with the whole model and under each plan.

    Args:
        backend: A name of `graphs.BACKENDS` that plans, and a second column of the whole model, run on.
        others: UNets that plans may use, by name.
        beside: The UNet whose whole run all are compared with, such as the teacher of this one; this one if not given.
        steps: What the plans were made for, or 20 without plans, if not given.
        rounds: How often each column is timed, in turn, after one warm-up.

    Raises:
        FitError: a plan does not fit the model, or was made for another number of calls; or this pipeline cannot call
            the model beside it.
    """
    calls = 2 if guidance > 1 else 1  # the prediction with words, and the one without
    if steps is None:
        steps = steps_for(pipe.scheduler, next(iter(plans.values())).rows) if plans else 20
    sizes = {"batch": calls, "tokens": pipe.tokenizer.model_max_length}
    host = hosts.of(pipe.unet, **sizes)
    stand_ins = {name: hosts.of(unet, **sizes) for name, unet in (others or {}).items()}
    rows = hosts.rows(pipe.scheduler, steps)
    for name, plan in plans.items():
        if plan.rows != rows:
            raise FitError(
                f"the plan {name!r} has {plan.rows} rows, and {type(pipe.scheduler).__name__} makes {rows} calls in "
                f"{steps} steps. Choose other steps, or make the plan anew with --rows {rows}."
            )
    whole = host if beside is None else hosts.of(beside, **sizes)
    if (reason := host.misfit(whole)) is not None:
        raise FitError(f"the model beside this one cannot be called by its pipeline: {reason}.")
    tables = {name: resolve(plan, host.outline, stand_ins) for name, plan in plans.items()}

    graphs: dict[str, Ready] = {}  # loaded once, so that seconds are those of drawing

    def draw_pictures(answering: rig.Host, plan: Plan, on: str | None) -> list[Image.Image]:
        generators = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
        how = (
            rig.applied(plan, answering, others=stand_ins)
            if on is None
            else applied_as_graphs(plan, answering, on, others=stand_ins, ready=graphs, say=say)
        )
        with called_by(pipe, answering.module), how:
            return pipe(list(prompts), num_inference_steps=steps, guidance_scale=guidance, generator=generators).images

    columns: dict[str, tuple[rig.Host, Plan, str | None]] = {WHOLE: (whole, Plan(rows), None)}
    if backend is not None and beside is None:
        tables = {f"{WHOLE} on {backend}": resolve(Plan(rows), host.outline), **tables}
        plans = {f"{WHOLE} on {backend}": Plan(rows), **plans}
    columns |= {name: (host, plan, backend) for name, plan in plans.items()}
    pictures = {}
    for name, column in columns.items():
        say(f"drawing {len(prompts)} pictures: {name}")
        pictures[name] = draw_pictures(*column)
    if rounds > 1:
        say(f"timing {len(columns)} columns in {rounds} interleaved rounds")
    candidates = {name: functools.partial(draw_pictures, *column) for name, column in columns.items()}
    outlines = {name: one.outline for name, one in stand_ins.items()}
    seconds = rig.measure_seconds(candidates, rounds=rounds if plans else 0, warmups=0)
    return SideBySide(
        pictures=pictures,
        bills={name: replace(price(table, outlines), whole=whole.outline.macs) for name, table in tables.items()},
        seconds=seconds,
        drift={
            name: [psnr(one, whole) for one, whole in zip(pictures[name], pictures[WHOLE], strict=True)]
            for name in plans
        },
        drawings={name: draw(table, others=outlines) for name, table in tables.items()},
        machine=machine(str(pipe.device)),
    )


@contextmanager
def called_by(pipe: DiffusionPipeline, unet: nn.Module) -> Iterator[None]:
    """Another UNet in the place of a pipeline's own, inside the block."""
    own = pipe.unet
    pipe.unet = unet
    try:
        yield
    finally:
        pipe.unet = own
