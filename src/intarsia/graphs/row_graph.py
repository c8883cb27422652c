"""One kind of row as a function without memory: a call's tensors and told values in, the answer and kept values out."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from ..plan import Table
from ..rig import Host
from ..rig.answering import Row, answer, first_tensor, touched_sites, wearing, worn
from .kinds import Kind


@dataclass(frozen=True)
class CallForm:
    """How the arguments of a call are packed: which are tensors, and what everything else is.

    Two calls of one form differ in the values of their tensors only.

    Attributes:
        names: Of the tensors, after the arguments they came in.
        shapes: Size and type of each tensor.
    """

    spec: Any
    constants: tuple[Any, ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[tuple[int, ...], torch.dtype], ...]

    @staticmethod
    def of(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple["CallForm", list[Tensor]]:
        """The form of a call and its tensors. The answer comes as a tuple whatever the caller wants."""
        bound = inspect.signature(type(module).forward).bind(module, *args, **{**kwargs, "return_dict": False})
        named = {name: value for name, value in list(bound.arguments.items())[1:] if value is not None}
        if isinstance(named.get("timestep"), (int, float)):  # else every step would be a form of its own
            named["timestep"] = torch.tensor(named["timestep"])
        leaves, spec = pytree.tree_flatten_with_path(named)
        tensors = [(pytree.keystr(path), leaf) for path, leaf in leaves if isinstance(leaf, Tensor)]
        return CallForm(
            spec=spec,
            constants=tuple(None if isinstance(leaf, Tensor) else (leaf,) for _, leaf in leaves),
            names=tuple(re.sub(r"\W+", "_", name).strip("_") for name, _ in tensors),
            shapes=tuple((tuple(value.shape), value.dtype) for _, value in tensors),
        ), [value for _, value in tensors]

    def unpack(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        """The arguments again, with these tensors in place."""
        given = iter(tensors)
        leaves = [next(given) if constant is None else constant[0] for constant in self.constants]
        return pytree.tree_unflatten(leaves, self.spec)

    def __str__(self) -> str:
        return f"{self.spec} {self.constants} {self.shapes}"


class RowGraph(nn.Module):
    """A host in one kind of row.

    Called with the tensors of a call and then the told value of each recalled site; returns the host's answer
    and then each kept value. It holds no state, so it can be exported.
    """

    def __init__(self, table: Table, host: Host, kind: Kind, form: CallForm, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.model = host.module
        self.table, self.host, self.kind, self.form = table, host, kind, form
        self.shapes = dict(shapes)

    @property
    def input_names(self) -> list[str]:
        return [*self.form.names, *(f"told/{path}" for path in self.kind.recalled)]

    @property
    def output_names(self) -> list[str]:
        return ["answer", *(f"kept/{path}" for path in self.kind.kept)]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(tensors) - len(self.kind.recalled)
        kwargs = self.form.unpack(tensors[:count])
        told = dict(zip(self.kind.recalled, tensors[count:], strict=True))
        kept: dict[str, Tensor] = {}
        row = Row(
            self.kind.settled,
            self.kind.kept,
            told.__getitem__,
            kept.__setitem__,
            self.host.edits_in_place(kwargs),
            self.shapes,
        )

        def answered(path: str, module_forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return answer(row, self.table, self.host, path, module_forward, args, kwargs)

        with worn(self.model, {path: wearing(answered, path) for path in touched_sites(self.table)}):
            output = first_tensor(self.model(**kwargs))
        return (output, *(kept[path] for path in self.kind.kept))


def shapes_of(graph: RowGraph, tensors: Sequence[Tensor]) -> dict[str, torch.Size]:
    """The shape of every site's answer when the whole host runs, found on the meta device."""
    stateless = {name: value.to("meta") for name, value in graph.state_dict(keep_vars=True).items()}
    buffers = {name: value.to("meta") for name, value in graph.named_buffers()}
    with torch.no_grad(), torch.device("meta"):
        functional_call(graph, stateless | buffers, tuple(value.to("meta") for value in tensors))
    return graph.shapes
