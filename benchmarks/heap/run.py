"""Seconds with freed memory kept over seconds without, each in a process of its own, in turn.

    python -m benchmarks.heap.run             seven pairs of processes for each case; ten minutes
    python -m benchmarks.heap.run --quick     one pair, few passes, only what is small; under a minute

Eight pictures of the emoji model's UNet in fp32, one call of a UNet of Stable Diffusion 1.5's shape in bf16 with
guidance at 256 px, and one step of training an EfficientNet-Lite0 on 48 pictures of 96 px. One thread.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import timm
import torch
import typer
from diffusers import UNet2DConditionModel

from benchmarks.inherit_speed.run import random_unet
from benchmarks.results import at_most, write_result
from intarsia import heap, shipped

PASSES = 9  # in a process; the first two are not counted


def pass_of(unet: UNet2DConditionModel, batch: int, size: int, words: int) -> Callable[[], object]:
    """One call of a UNet."""
    unet.eval().requires_grad_(False)
    latents = torch.randn(batch, unet.config.in_channels, size, size, dtype=unet.dtype)
    said = torch.randn(batch, words, unet.config.cross_attention_dim, dtype=unet.dtype)
    return lambda: unet(latents, 500, said)


def drawing() -> Callable[[], object]:
    unet = UNet2DConditionModel.from_pretrained(shipped.model_folder("emoji"), subfolder="unet")
    return pass_of(unet, 8, unet.config.sample_size, 16)


def stable_diffusion() -> Callable[[], object]:
    return pass_of(random_unet().to(torch.bfloat16), 2, 32, 77)


def training() -> Callable[[], object]:
    model = timm.create_model("tf_efficientnet_lite0").to(memory_format=torch.channels_last)
    pictures = torch.randn(48, 3, 96, 96).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        model(pictures).square().mean().backward()
        model.zero_grad()

    return step


CASES = {"drawing": drawing, "stable diffusion": stable_diffusion, "training": training}


def seconds(case: str, kept: bool, passes: int) -> float:
    """Of one pass: the median of several in a fresh process."""
    told = [sys.executable, "-m", "benchmarks.heap.run", "--case", case, "--passes", str(passes)]
    done = subprocess.run([*told, *(["--kept"] if kept else [])], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout))


def measure(case: str, kept: bool, passes: int) -> float:
    """What a process of `seconds` does."""
    torch.manual_seed(0)
    step, times = CASES[case](), []
    with heap.kept() if kept else nullcontext():
        for _ in range(passes):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    pairs: int = typer.Option(7, help="Pairs of processes for each case."),
    case: str | None = typer.Option(None, hidden=True),
    kept: bool = typer.Option(False, "--kept", hidden=True),
    passes: int = typer.Option(PASSES, hidden=True),
) -> None:
    """Time, compare, claim."""
    torch.set_num_threads(1)
    if case is not None:
        print(json.dumps(measure(case, kept, passes)))
        return
    pairs, passes = (1, 3) if quick else (pairs, passes)
    rows, claims = [], []
    for name in ("drawing", "training") if quick else CASES:
        rounds = [[seconds(name, kept, passes) for kept in (False, True)] for _ in range(pairs)]
        ratios = [with_kept / without for without, with_kept in rounds]
        row = {"case": name, "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        rows.append({**row, "rounds": rounds})
        claims.append(at_most(f"{name}: seconds with freed memory kept over seconds without", row["ratio"], 0.9))
        print(row)
    write_result("heap", rows, claims, {"quick": quick, "pairs": pairs, "passes": passes})


if __name__ == "__main__":
    typer.run(main)
