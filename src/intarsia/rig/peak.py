"""Bytes of all tensors that are alive at once during a call, counted as they come and go: exact, and no clock."""

import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Alive(TorchDispatchMode):
    """Watches which storages are held; scratch memory inside one operator is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: Counter[int] = Counter()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for value in tree_leaves(output):
            if isinstance(value, Tensor):
                self.hold(value)
        return output

    def hold(self, value: Tensor) -> None:
        """Count a tensor until it is gone; tensors that share a storage count once."""
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self.holders[key]:
            self.now += size
            self.peak = max(self.peak, self.now)
        self.holders[key] += 1
        weakref.finalize(value, self.let_go, key, size)

    def let_go(self, key: int, size: int) -> None:
        """One holder fewer."""
        self.holders[key] -= 1
        if not self.holders[key]:
            self.now -= size


@torch.no_grad()
def peak_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """The most bytes that a call holds at once: parameters, buffers, inputs and what is computed.

    Args:
        inputs: On any device; on `meta` nothing is computed.
    """
    held = [*model.parameters(), *model.buffers(), *inputs]
    with Alive() as alive:
        for value in held:
            alive.hold(value)
        model(*inputs)
    return alive.peak
