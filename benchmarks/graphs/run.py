"""Seconds of the same plan as static graphs and in eager PyTorch, on a UNet of Stable Diffusion 1.5's shape.

    python -m benchmarks.graphs.run             256 px, branches 0 and 2, every third call, seven pairs; half an hour
    python -m benchmarks.graphs.run --quick     the smallest UNet, one pair, under a minute

Weights are random: seconds do not depend on them. One thread, bf16, 12 DDIM steps with guidance in one batch.
Graphs are converted into a fresh folder, and found there in a second pass: both are timed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer

from benchmarks.inherit_speed.run import by_plan, drawer, pipeline, random_unet
from benchmarks.results import at_least, at_most, write_result
from intarsia import hosts
from intarsia.graphs import Kinds, applied_as_graphs
from intarsia.hosts import pico
from intarsia.lighten import branch_site, inherit

STEPS, EVERY = 12, 3


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    pairs: int = typer.Option(7, help="Interleaved rounds at each point."),
    threads: int = typer.Option(1, help="Threads of torch and of the runtime."),
    backend: str = typer.Option("openvino", help="openvino or onnx."),
) -> None:
    """Convert, time, compare, claim."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    pipe, size = pipeline(pico.unet(cross_attention_dim=768) if quick else random_unet()), 16 if quick else 32
    draw = drawer(pipe, size, STEPS)
    host = hosts.of(pipe.unet, batch=2, height=size, width=size)
    rows = []
    for branch in (0, 2):
        plan = inherit(STEPS, every=EVERY, sites=branch_site(host.outline, branch))
        with tempfile.TemporaryDirectory() as folder:
            made = []
            for _ in range(2):
                with applied_as_graphs(plan, host, backend, keep=Path(folder), say=print) as live:
                    by_graphs = draw()
                    made.append([{"how": how, "seconds": took} for how, took in live.graphs.made])
                    kinds = len(set(Kinds(live.table).of_row))
            eager = by_plan(pipe, plan, draw)
            wanted = eager().float()
            apart = (by_graphs.float() - wanted).square().mean() / wanted.square().mean()
            ratios = []
            ready: dict = {}
            with applied_as_graphs(plan, host, backend, keep=Path(folder), ready=ready):
                draw()  # loads the graphs, as a server does once
            eager()

            def graphs(plan=plan, folder=folder, ready=ready) -> object:
                with applied_as_graphs(plan, host, backend, keep=Path(folder), ready=ready):
                    return draw()

            for _ in range(1 if quick else pairs):
                took = seconds(eager)
                ratios.append(took / seconds(graphs))
        row = {
            "branch": branch,
            "every": EVERY,
            "kinds of rows": kinds,
            "made": made,
            "eager seconds over graphs'": statistics.median(ratios),
            "rounds": ratios,
            "relative squared error of latents": float(apart),
        }
        rows.append(row)
        print(row)
    claims = [
        at_least(f"branch {row['branch']}: eager seconds over {backend}'s", row["eager seconds over graphs'"], 1.4)
        for row in rows
    ]
    claims.append(
        at_most(
            "relative squared error of latents, worst",
            max(row["relative squared error of latents"] for row in rows),
            1e-2,
        )
    )
    claims += [
        at_least(
            f"branch {row['branch']}: every kind converted once and found afterwards",
            float(
                [[one["how"] for one in times] for times in row["made"]]
                == [["converted"] * row["kinds of rows"], ["found"] * row["kinds of rows"]]
            ),
            1.0,
        )
        for row in rows
    ]
    settings = {"quick": quick, "pairs": pairs, "steps": STEPS, "dtype": "bfloat16", "pixels": size * 8}
    write_result(f"graphs_{backend}", rows, claims, settings)


if __name__ == "__main__":
    typer.run(main)
