"""What the two halves of a guided batch have in common is computed once.

Classifier-free guidance asks for two predictions of one noisy sample, with words and without, mostly in one batch.
Until words are first read both halves are the same, so whatever runs before that is given one half and its answer is
handed on twice. In Stable Diffusion that is the first resnet and the first self-attention, the one over most tokens.
It is no part of a plan: it changes no picture but by rounding, and where the halves differ it costs a comparison.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..errors import RigError
from .answering import Wearing, worn
from .contract import Host
from .live import UNDER_PLAN


@contextmanager
def guidance_shared(host: Host) -> Iterator[None]:
    """Inside the block a guided batch is split in two only where words are read.

    Answers are those of the whole batch, but for rounding where a kernel depends on the size of its batch. A plan is
    applied within the block, not around it.

    Raises:
        RigError: the host is under a plan already.
    """
    if host.module in UNDER_PLAN:
        raise RigError("this model is under a plan already: enter rig.guidance_shared first, then rig.applied.")
    call = threading.local()

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call.alike = halves_alike(host.without_words(args, kwargs))

    handle = host.module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with worn(host.module, {path: once(lambda: call.alike) for path in host.before_words()}):
            yield
    finally:
        handle.remove()


def halves_alike(values: Sequence[Tensor]) -> bool:
    """Whether the second half of each of these batches repeats the first."""
    return all(len(value) % 2 == 0 and torch.equal(*value.chunk(2)) for value in values)


def once(alike: Callable[[], bool]) -> Wearing:
    """A forward that runs on one half where both are alike."""

    def wear(module_forward: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if not alike():
                return module_forward(*args, **kwargs)
            batch = len(args[0] if args else kwargs["hidden_states"])
            half_args, half_kwargs = tree_map(lambda value: first_half(value, batch), (args, kwargs))
            return tree_map(lambda value: torch.cat([value, value]), module_forward(*half_args, **half_kwargs))

        return forward

    return wear


def first_half(value: Any, batch: int) -> Any:
    """Of whatever is a batch of this size; all else is as it was."""
    return value[: batch // 2] if isinstance(value, Tensor) and value.ndim and len(value) == batch else value
