"""What a user would pick instead, each as one draw with everything put back afterwards.

pip install --group rivals        DeepCache 0.1.1, T-GATE 1.0.0, tomesd 0.1.3
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tomesd
from DeepCache import DeepCacheSDHelper
from diffusers import StableDiffusionPipeline
from tgate import TgateSDLoader

from intarsia import rig


@contextmanager
def deepcache(pipe: StableDiffusionPipeline, branch: int, every: int) -> Iterator[Callable[..., Any]]:
    """DeepCache: hold the output of one branch between every n-th call."""
    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=every, cache_branch_id=branch)
    helper.enable()
    try:
        yield pipe
    finally:
        helper.disable()


@contextmanager
def tgate(pipe: StableDiffusionPipeline, gate_step: int) -> Iterator[Callable[..., Any]]:
    """T-GATE: after the gate, cross-attention is held and guidance dropped. It has a denoising loop of its own."""
    loaded = TgateSDLoader(pipe)

    def draw(*args: Any, **kwargs: Any) -> Any:
        return loaded.tgate(*args, gate_step=gate_step, **kwargs)

    try:
        yield draw
    finally:
        for module in pipe.unet.modules():  # it has no undo
            if type(module).__name__ == "Attention":
                module.__dict__.pop("forward", None)
                module.__dict__.pop("cache", None)
        del pipe.tgate


@contextmanager
def merging(pipe: StableDiffusionPipeline, ratio: float) -> Iterator[Callable[..., Any]]:
    """tomesd: merge that share of the tokens before attention."""
    tomesd.apply_patch(pipe, ratio=ratio)
    try:
        yield pipe
    finally:
        tomesd.remove_patch(pipe)


def gate_within(pipe: StableDiffusionPipeline, draw: Callable[..., Any], steps: int, share: float) -> int | None:
    """The latest gate whose run takes at most this share of the whole run's MACs, found by counting; None if none does.

    Args:
        draw: Draws one picture with what it is given in place of the pipeline.
    """
    with rig.count_macs() as whole:
        draw(pipe)
    low, high = 1, steps
    fitting = None
    while low <= high:
        middle = (low + high) // 2
        with tgate(pipe, middle) as by_gate, rig.count_macs() as macs:
            draw(by_gate)
        if macs.total <= share * whole.total:
            fitting, low = middle, middle + 1
        else:
            high = middle - 1
    return fitting
