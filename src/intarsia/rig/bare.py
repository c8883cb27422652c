"""A copy of a model's structure, with nothing put on it: for reading, while the model itself is at work."""

import copy
from itertools import chain

from torch import nn

PUT_ON = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
          "_forward_hooks_always_called")  # fmt: skip


def bare_copy(model: nn.Module, *, share: bool = True) -> nn.Module:
    """The model without forwards and hooks that others put on its modules, such as plans and offloading.

    Args:
        share: Whether parameters and buffers are the model's own, or copies of them.
    """
    memo: dict[int, object] = {}
    if share:
        memo = {id(value): value for value in chain(model.parameters(), model.buffers())}
    for module in model.modules():
        for name in ("forward", "_diffusers_hook", "_hf_hook", "_old_forward"):
            if name in module.__dict__:
                memo[id(module.__dict__[name])] = None
    bare = copy.deepcopy(model, memo)
    for module in bare.modules():
        for name in ("forward", "_diffusers_hook", "_hf_hook", "_old_forward"):
            module.__dict__.pop(name, None)
        for name in PUT_ON:
            if name in module.__dict__:
                module.__dict__[name] = type(module.__dict__[name])()
    return bare
