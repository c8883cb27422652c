"""Seconds under a plan, beside DeepCache 0.1.1 at the same plan, on a UNet of Stable Diffusion 1.5's shape.

    python -m benchmarks.inherit_speed.run             256 px and 512 px latents, nine points; 1.5 hours
    python -m benchmarks.inherit_speed.run --quick     a UNet a tenth as wide, one pair a point, in about a minute

Weights are random: seconds do not depend on them. Every run is 20 DDIM steps with guidance in one batch. The
overhead is what a reuse call takes beyond the live modules alone, called by hand on tensors that are at hand.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
import typer
from DeepCache import DeepCacheSDHelper
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import track
from torch.utils._pytree import tree_leaves

from benchmarks import rivals
from benchmarks.keeping import kept_row
from benchmarks.results import at_least, at_most, write_result
from intarsia import Extrapolate, Outline, Plan, hosts, price, resolve, rig
from intarsia.lighten import branch_site, inherit
from intarsia.rig.answering import first_tensor

SD_15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
NARROW = (32, 64, 128, 128)  # in place of its `block_out_channels`: as many modules, next to no work
STEPS = 20
LANES = ("DeepCache", "intarsia", "intarsia, guidance shared")
POINTS = [(branch, every) for branch in (0, 1, 2) for every in (2, 3, 5)]


def random_unet(**changes: object) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion 1.5's shape, with random weights."""
    torch.manual_seed(0)
    return UNet2DConditionModel(**(SD_15 | changes))


def pipeline(unet: UNet2DConditionModel) -> StableDiffusionPipeline:
    """A stock pipeline around a UNet that stops at latents, in bf16."""
    pipe = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet.to(torch.bfloat16).eval().requires_grad_(False),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def twin(pipe: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """The same weights in modules of their own, so that two ways can stand side by side."""
    return pipeline(copy.deepcopy(pipe.unet, {id(value): value for value in pipe.unet.parameters()}))


@torch.no_grad()
def in_step(pipes: Mapping[str, StableDiffusionPipeline], size: int, steps: int, late: bool) -> tuple[dict, dict]:
    """One run of each, taking turns call by call, so that what else the machine does falls on all alike.

    Args:
        late: Who comes first within a step changes from step to step; this says who begins.

    Returns:
        The seconds of each run, and its latents.
    """
    words = torch.zeros(2, 77, 768, dtype=torch.bfloat16)
    start = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    seconds, latents = dict.fromkeys(pipes, 0.0), dict.fromkeys(pipes, start)
    for pipe in pipes.values():
        pipe.scheduler.set_timesteps(steps)
    for step in range(steps):
        for name, pipe in list(pipes.items())[:: -1 if (step + late) % 2 else 1]:
            began = time.perf_counter()
            at = pipe.scheduler.timesteps[step]
            both = pipe.unet(torch.cat([latents[name]] * 2), at, encoder_hidden_states=words, return_dict=False)[0]
            without, with_words = both.chunk(2)
            guided = without + 7.5 * (with_words - without)
            latents[name] = pipe.scheduler.step(guided, at, latents[name], return_dict=False)[0]
            seconds[name] += time.perf_counter() - began
    return seconds, latents


def drawer(pipe: StableDiffusionPipeline, size: int, steps: int) -> Callable[..., torch.Tensor]:
    """One run to latents of (size, size), by the pipeline or by what stands in for it."""
    words = torch.zeros(1, 77, 768, dtype=torch.bfloat16)
    latents = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)

    def draw(call: Callable = pipe) -> torch.Tensor:
        return call(
            prompt_embeds=words, negative_prompt_embeds=words, latents=latents.clone(), num_inference_steps=steps,
            guidance_scale=7.5, output_type="latent", height=size * 8, width=size * 8,
        ).images  # fmt: skip

    return draw


def by_plan(pipe: StableDiffusionPipeline, plan: Plan, draw: Callable) -> Callable:
    host = hosts.of(pipe.unet)
    assert host.outline  # made now: its trial run on the meta device is not what is metered

    def call() -> torch.Tensor:
        with rig.applied(plan, host):
            return draw()

    return call


def by_rival(rival: Callable[..., AbstractContextManager], draw: Callable, *args: object, **kwargs: object) -> Callable:
    def call() -> torch.Tensor:
        with rival(*args, **kwargs) as drawing:
            return draw(drawing)

    return call


def bytes_of_deepcache(pipe: StableDiffusionPipeline, branch: int, every: int, draw: Callable) -> int:
    """Bytes of every feature that DeepCache holds after a run."""
    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=every, cache_branch_id=branch)
    helper.enable()
    try:
        draw()
        held = [value for value in tree_leaves(list(helper.cached_output.values())) if isinstance(value, torch.Tensor)]
        return sum({value.data_ptr(): value.numel() * value.element_size() for value in held}.values())
    finally:
        helper.disable()


def others(pipe: StableDiffusionPipeline, draw: Callable, steps: int, outline: Outline, rounds: int) -> dict:
    """Other ways to the same end, beside two plans of ours: seconds and MACs as shares of the whole run's."""
    site = branch_site(outline, 0)
    candidates = {
        "whole": draw,
        "T-GATE, gate at half": by_rival(rivals.tgate, draw, pipe, steps // 2),
        "tomesd, half the tokens": by_rival(rivals.merging, draw, pipe, 0.5),
        "intarsia, every 2, parabola": by_plan(
            pipe, inherit(steps, every=2, sites=site, forecast=Extrapolate(2)), draw
        ),
        "intarsia, every 3, half the line": by_plan(
            pipe, inherit(steps, every=3, sites=site, forecast=Extrapolate(1, 0.5)), draw
        ),
    }
    macs = {}
    for name, call in candidates.items():
        with rig.count_macs() as counted:
            call()
        macs[name] = counted.total
    seconds = rig.measure_seconds(candidates, rounds=rounds)
    return {
        name: {"seconds_ratio": seconds.ratio(name), "macs_ratio": macs[name] / macs["whole"]}
        for name in list(candidates)[1:]
    }


def overhead(pipe: StableDiffusionPipeline, branch: int, size: int, rounds: int) -> dict:
    """Seconds of a reuse call beyond those of its live modules alone, as a share of these: median over rounds.

    Before either is timed the whole model runs, so that neither finds its weights at hand.
    """
    host = hosts.of(pipe.unet)
    site = branch_site(host.outline, branch)
    plan = inherit(2, every=2, sites=site)
    live_units = [
        unit.path
        for unit in host.outline.of_level("unit")
        if unit.path in resolve(plan, host.outline).flows[1].computed
    ]
    given = {
        "sample": torch.randn(2, 4, size, size).to(torch.bfloat16),
        "encoder_hidden_states": torch.zeros(2, 77, 768, dtype=torch.bfloat16),
    }
    inputs: dict[str, tuple] = {}
    handles = []
    for path in live_units:

        def keep(_module, args, kwargs, path=path):
            inputs[path] = (args, kwargs)

        handles.append(pipe.unet.get_submodule(path).register_forward_pre_hook(keep, with_kwargs=True))
    with rig.applied(plan, host):
        pipe.unet(**given, timestep=900)
        pipe.unet(**given, timestep=800)
    for handle in handles:
        handle.remove()

    def by_hand() -> None:
        """What cannot be left out: time and the live modules, and the joins of skips before each live resnet."""
        pipe.unet.time_embedding(pipe.unet.time_proj(torch.tensor([800, 800])).to(torch.bfloat16))
        for path in live_units:
            args, kwargs = inputs[path]
            if path.startswith("up_blocks") and ".resnets." in path:
                width = args[0].shape[1] // 2
                args = (torch.cat([args[0][:, :width], args[0][:, width:]], 1), *args[1:])
            first_tensor(pipe.unet.get_submodule(path)(*args, **kwargs))
            if path == "up_blocks.3.attentions.2":
                pipe.unet.conv_act(pipe.unet.conv_norm_out(inputs["conv_out"][0][0]))

    ratios = []
    for _ in range(rounds):
        with rig.applied(plan, host):
            pipe.unet(**given, timestep=900)
            began = time.perf_counter()
            pipe.unet(**given, timestep=800)
            ours = time.perf_counter() - began
        pipe.unet(**given, timestep=900)
        began = time.perf_counter()
        by_hand()
        ratios.append(ours / (time.perf_counter() - began))
    return {"branch": branch, "overhead": statistics.median(ratios) - 1, "ratios": ratios}


def point(pipe: StableDiffusionPipeline, size: int, outline: Outline, where: tuple, steps: int, pairs: int) -> dict:
    """Ours beside DeepCache at the same plan, in step; the whole model's run a third as often.

    Ours once as a plan alone, which runs the same modules as DeepCache, and once with what guidance's two halves have
    in common computed once, as one would use it.
    """
    branch, every = where
    plan = inherit(steps, every=every, sites=branch_site(outline, branch))
    pipes = {name: twin(pipe) for name in LANES}
    plain, shared = (hosts.of(pipes[name].unet) for name in LANES[1:])
    rounds, same = [], []
    for number in range(pairs + 1):  # the first is not counted
        with (
            rivals.deepcache(pipes["DeepCache"], branch, every), rig.applied(plan, plain),
            rig.guidance_shared(shared), rig.applied(plan, shared),
        ):  # fmt: skip
            seconds, latents = in_step(pipes, size, steps, late=bool(number % 2))
        rounds.append([seconds[name] for name in LANES])
        same.append([torch.equal(latents[name], latents["DeepCache"]) for name in LANES[1:]])
    del rounds[0]
    wholes = [in_step({"whole": pipe}, size, steps, late=False)[0]["whole"] for _ in range(math.ceil(pairs / 3))]
    whole, bill = statistics.median(wholes), price(resolve(plan, outline))

    def over(lane: int) -> dict[str, object]:
        """DeepCache's seconds over a lane's, run by run."""
        ratios = [times[0] / times[lane] for times in rounds]
        return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}

    return {
        "branch": branch,
        "every": every,
        "macs_ratio": bill.macs_ratio,
        "kept_bytes": bill.peak_bytes,
        "DeepCache bytes": bytes_of_deepcache(pipe, branch, every, drawer(pipe, size, steps)),
        "seconds over the whole model's": {
            name: statistics.median(times[lane] for times in rounds) / whole for lane, name in enumerate(LANES)
        },
        "DeepCache seconds over ours": over(2),
        "DeepCache seconds over ours, guidance not shared": over(1),
        "runs with DeepCache's latents": {
            name: sum(equal) / len(same) for name, equal in zip(LANES[1:], zip(*same, strict=True), strict=True)
        },
        "rounds": rounds,
        "rounds, whole": wholes,
    }


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    pairs: int = typer.Option(7, help="Interleaved rounds at each point at 256 px."),
    wide_pairs: int = typer.Option(3, help="The same at 512 px, where a round takes five times as long."),
    threads: int = typer.Option(2, help="Threads of torch."),
    keep: Path = typer.Option(Path("runs/inherit_speed"), help="Where rows are kept: a killed run goes on."),
) -> None:
    """Time, compare, claim."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    pipe = pipeline(random_unet(block_out_channels=NARROW) if quick else random_unet())
    steps, pairs = (6, 1) if quick else (STEPS, pairs)
    keep = keep / f"{'quick' if quick else 'full'}-{pairs}-{threads}"
    rows = []
    for size in (32,) if quick else (32, 64):
        draw = drawer(pipe, size, steps)
        outline = rig.outline_of(hosts.of(pipe.unet), batch=2, height=size, width=size)
        times = pairs if size == 32 else wide_pairs
        todo: dict[str, Callable[[], dict]] = {
            f"branch{where[0]}-every{where[1]}": partial(point, pipe, size, outline, where, steps, times)
            for where in POINTS
        }
        todo |= {
            f"overhead{branch}": partial(overhead, pipe, branch, size, 1 if quick else 5 * times)
            for branch in (0, 1, 2)
        }
        todo["others"] = partial(others, pipe, draw, steps, outline, rounds=math.ceil(times / 3))
        for name, make in track(todo.items(), description=f"{size * 8} px"):
            rows.append({"pixels": size * 8, **kept_row(keep / f"{size * 8}px-{name}.json", make)})
            print({key: value for key, value in rows[-1].items() if "rounds" not in key})
    timed = [row for row in rows if "every" in row]
    worst = min(row["DeepCache seconds over ours"]["median"] for row in timed)
    claims = [at_least("DeepCache's seconds over ours at the same plan, worst point", worst, 1.0)]
    same = min(row["runs with DeepCache's latents"]["intarsia"] for row in timed)
    claims.append(at_least("runs in which a plan alone gives DeepCache's latents to the bit, worst point", same, 1.0))
    shares = [row["kept_bytes"] / row["DeepCache bytes"] for row in timed if row["branch"] == 0]
    claims.append(at_most("bytes kept over DeepCache's, branch 0, worst", max(shares), 0.05))
    over = [row["overhead"] for row in rows if "overhead" in row]
    claims.append(at_most("overhead of a reuse call, worst", max(over), 0.02))
    write_result(
        "inherit_speed",
        rows,
        claims,
        {"quick": quick, "pairs": pairs, "pairs at 512 px": wide_pairs, "steps": steps, "dtype": "bfloat16"},
    )


if __name__ == "__main__":
    typer.run(main)
