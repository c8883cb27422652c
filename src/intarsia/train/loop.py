"""One training loop for every capability: resumes after a kill, logs JSON lines, keeps an average.

What is trained is an *objective*: an `nn.Module` that holds the trained modules and whose forward takes a
batch and returns named losses, the one called `loss` being minimised. Whatever differs between recipes is in
the objective and in the batches, so there are no callbacks and no trainer classes.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import send_to_device
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from .. import heap
from ..errors import FitError
from .checkpoint import Checkpoint
from .ema import Average
from .log import Log
from .optimizers import Method, optimizers_of
from .processes import processes

Batch = Any


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        steps: Optimizer steps in all, over every session that resumes the run.
        learning_rate: Peak of the optimizer's rate, after `warmup` steps of linear growth.
        final_rate: What is left of the peak at the last step; the rate falls along half a cosine
            over the last `cooldown` steps and is constant between.
        average: Decay of the running average of weights, per step.
        optimizer: See `optimizers_of`.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    cooldown: int = 0
    final_rate: float = 0.05
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.999
    optimizer: Method = "adamw"

    def rate(self, step: int) -> float:
        """The learning rate of one step."""
        grown = min(1.0, (step + 1) / max(1, self.warmup))
        passed = 1.0 - min(1.0, (self.steps - step) / self.cooldown) if self.cooldown else 0.0
        fallen = self.final_rate + (1 - self.final_rate) * 0.5 * (1 + np.cos(np.pi * passed))
        return self.learning_rate * grown * float(fallen)


def seed_everything(*numbers: int) -> None:
    """Make every random draw a function of `numbers`, so that a resumed step repeats itself to the bit."""
    mixed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def fit(
    objective: nn.Module,
    batch_at: Callable[[int], Batch],
    schedule: Schedule,
    out: Path,
    *,
    seed: int = 0,
    save_every: int = 500,
    log_every: int = 20,
    show: Callable[[nn.Module, int], None] | None = None,
    show_every: int = 1000,
    stop_after: float | None = None,
) -> dict[str, float]:
    """Train an objective until its schedule ends; start again where the last checkpoint in `out` stands.

    Args:
        objective: Module whose forward takes a batch and returns named losses, among them `loss`.
            Parameters with `requires_grad` are trained, averaged and saved; the rest is left alone. Some may learn
            faster than others: see `Grouped`.
        batch_at: The batch of one draw. Called with `step * processes + rank` and with every random
            generator seeded by that number, so it needs no state of its own.
        out: Folder of the run: `checkpoint/`, `log.jsonl`.
        show: Called on the main process with the averaged objective and the step.
        stop_after: Seconds after which this session saves and stops, however far it came.

    Returns:
        `step`, `seconds` of training over all sessions, and the last logged losses.

    Errors:
        CardError: the checkpoint in `out` was written for another objective.
        FitError: the loss is no number any more; nothing of that is saved.
    """
    processes()  # before accelerate guesses
    # In some lessons some parameters have no say, such as a classifier while a probe learns.
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    objective.to(accelerator.device)
    trained = {name: value for name, value in objective.named_parameters() if value.requires_grad}
    optimizers = optimizers_of(objective, trained, schedule.optimizer, schedule.weight_decay)
    average = Average(trained, schedule.average)
    checkpoint = Checkpoint(out / "checkpoint", trained, dict(objective.named_buffers()), average, optimizers)
    state = checkpoint.load()
    prepared, *optimizers = accelerator.prepare(objective, *optimizers)
    log = Log(out / "log.jsonl", enabled=accelerator.is_main_process)
    began, before = time.monotonic(), state["seconds"]
    sums: dict[str, Tensor] = {}
    summed = 0
    last = {name: value for name, value in state.items() if name not in ("step", "seconds")}

    with (
        heap.kept(),
        Progress(
            TextColumn(out.name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            disable=not accelerator.is_main_process,
        ) as progress,
    ):
        task = progress.add_task("fit", total=schedule.steps, completed=int(state["step"]), said="")
        for step in range(int(state["step"]), schedule.steps):
            draw = step * accelerator.num_processes + accelerator.process_index
            seed_everything(seed, draw)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = group["factor"] * schedule.rate(step)
            with torch.enable_grad():
                losses = prepared(send_to_device(batch_at(draw), accelerator.device))
                accelerator.backward(losses["loss"])
            norm = accelerator.clip_grad_norm_(trained.values(), schedule.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            average.update(step)

            losses = {**losses, "norm": norm if norm is not None else torch.tensor(0.0)}
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().float().cpu()
            summed += 1
            done, seconds = step + 1, before + time.monotonic() - began
            ended = done == schedule.steps
            if stop_after is not None and done % log_every == 0:
                late = torch.tensor(float(seconds - before > stop_after), device=accelerator.device)
                ended |= bool(accelerator.reduce(late, "max") > 0)
            if done % log_every == 0 or ended:
                last = {name: float(value) / summed for name, value in sums.items()}
                sums, summed = {}, 0
                if not math.isfinite(last["loss"]):
                    raise FitError(
                        f"{out.name}: the loss is {last['loss']} by step {done}; the last checkpoint is kept. Begin "
                        "anew with a lower rate."
                    )
                log.write(step=done, seconds=round(seconds, 1), rate=schedule.rate(step), **last)
                progress.update(task, completed=done, said=f"loss {last['loss']:.4f}")
            if accelerator.is_main_process and (done % save_every == 0 or ended):
                checkpoint.save({"step": done, "seconds": seconds, **last})
            if accelerator.is_main_process and show is not None and (done % show_every == 0 or ended):
                with average.worn():
                    show(objective, done)
            if ended:
                break
    accelerator.wait_for_everyone()
    return checkpoint.read()
