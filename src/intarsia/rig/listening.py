"""Hear what goes into a model and what its modules answer, without changing either."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .answering import first_tensor

Call = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def overheard(module: nn.Module) -> Iterator[list[Call]]:
    """Copies of what a model is called with inside the block."""
    calls: list[Call] = []

    def copied(value: Any) -> Any:
        return value.detach().clone() if isinstance(value, Tensor) else value

    def hear(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(pytree.tree_map(copied, (args, kwargs)))

    handle = module.register_forward_pre_hook(hear, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def listening(model: nn.Module, paths: Sequence[str], *, copies: bool = False) -> Iterator[dict[str, list[Tensor]]]:
    """The answers of these modules inside the block, call by call.

    Args:
        copies: Take copies without gradients: whoever comes after a module may edit its answer in place.
    """
    heard: dict[str, list[Tensor]] = {path: [] for path in paths}

    def hearing(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            answer = first_tensor(output)
            heard[path].append(answer.detach().clone() if copies else answer)

        return hook

    handles = [model.get_submodule(path).register_forward_hook(hearing(path)) for path in heard]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
