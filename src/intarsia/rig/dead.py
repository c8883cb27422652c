"""What stands where a value that nobody reads would be.

A UNet's blocks go on concatenating and adding whether or not anybody needs the result. A `Dead` tensor has the
shape that is asked of it and no values: whatever is done with it costs nothing and is dead again. Should one
reach a layer with weights or the host's output, a reader was overlooked, and the call is refused.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import RigError

# Questions about a tensor rather than work on it.
QUESTIONS = ("__get__", "size", "dim", "numel", "is_floating_point", "stride", "element_size", "__repr__")
# Work that a model does on what it reads. Nothing that is priced may be done on the dead.
WORK = ("conv1d", "conv2d", "linear", "layer_norm", "scaled_dot_product_attention", "matmul", "bmm", "baddbmm")


class Dead(Tensor):
    """A tensor without values."""

    @staticmethod
    def __new__(cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> "Dead":
        return torch.Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=dtype, device=device)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.__name__ in QUESTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        if func.__name__ in WORK:
            raise overlooked(f"a layer ({func.__name__})")
        return first_dead([*args, *(kwargs or {}).values()])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch says it wrongly
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return first_dead([*args, *(kwargs or {}).values()])


@lru_cache(maxsize=1024)
def dead(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Dead:
    """The dead tensor of a shape. Nothing can be done to it, so one serves everybody."""
    return Dead(shape, dtype, device)


def overlooked(reader: str) -> RigError:
    """The refusal of a reader that is handed what was not computed."""
    return RigError(f"{reader} reads what the plan left out: the host overlooked a reader. Please report the model.")


def first_dead(values: Sequence[Any]) -> Dead | None:
    """The first dead tensor among values, lists looked into."""
    for value in values:
        found = first_dead(value) if isinstance(value, (list, tuple)) else value
        if isinstance(found, Dead):
            return found
    return None
