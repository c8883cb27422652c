"""What each site hands on in one row, whoever walks the plan: a live run, or a graph being taken down."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RigError
from ..plan import Table
from ..plan.liveness import Flow
from .contract import Host
from .dead import dead, first_dead, overlooked

Wearing = Callable[[Any], Any]  # from the forward that stands at a module to the one that stands in for it
UNDER_OFFLOADING = "_old_forward"  # the forward that accelerate's offloading stands over, and puts back when it goes


@dataclass
class Row:
    """One row on its way through a host.

    Attributes:
        settled: What runs, is recalled or passes; None if the whole host runs.
        kept: The sites whose answers are taken down.
        recall: What a site is told to answer: its output, or what it adds to its input.
        remember: Takes an answer down.
        guarded: Features may be edited in place downstream, so copies are handed out.
        shapes: Of every answer that was computed, now or before; the dead need them.
    """

    settled: Flow | None
    kept: Collection[str]
    recall: Callable[[str], Tensor]
    remember: Callable[[str, Tensor], None]
    guarded: bool = False
    shapes: dict[str, torch.Size] = field(default_factory=dict)


def answer(
    row: Row, table: Table, host: Host, path: str, module_forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a site hands on in a row."""
    settled = row.settled
    if settled is None or path in settled.running:
        refuse_dead(path, args)
        output = module_forward(*args, **kwargs)
        value = first_tensor(output)
        row.shapes[path] = value.shape
        if path in row.kept:
            if path in table.residual:
                value = value - host.shortcut(path, args, kwargs)
            elif row.guarded or path == table.outline.root:  # the host's answer is its caller's, to do with as he likes
                value = value.clone()
            row.remember(path, value)
        return output
    given = args[0] if args else kwargs["hidden_states"]
    if path in settled.recalled:
        told = row.recall(path)
        if settled.recalled[path].carry == "residual":
            told = host.shortcut(path, args, kwargs) + told
        elif row.guarded:
            told = told.clone()
        return like_output(told, kwargs)
    if path in settled.passed:
        passes = table.outline.by_path[path].skip == "identity"
        return like_output(given if passes else torch.zeros_like(given), kwargs)
    empty = placeholder(row.shapes.get(path, given.shape), given)
    return like_output(empty.clone() if row.guarded else empty, kwargs)  # one number at every place cannot be edited


def refuse_dead(reader: str, values: tuple[Any, ...]) -> None:
    """Raise `RigError` if a reader is handed what was not computed."""
    if first_dead(values) is not None:
        raise overlooked(reader)


def first_tensor(output: Any) -> Tensor:
    """The tensor that a module hands on, alone, first in a tuple, or first in diffusers' kind of one."""
    return output if isinstance(output, Tensor) else output[0]


def like_output(tensor: Tensor, kwargs: Mapping[str, Any]) -> Any:
    """A tensor in the form in which the site's callers expect it."""
    return (tensor,) if kwargs.get("return_dict") is False else tensor


def placeholder(shape: torch.Size, like: Tensor) -> Tensor:
    """Stands where a value that nobody reads would be.

    A compiler sees one number at every place, whose use it then removes; without one it is a dead tensor.
    """
    if torch.compiler.is_compiling():
        return torch.zeros((), dtype=like.dtype, device=like.device).expand(shape)
    return dead(shape, like.dtype, like.device)


def touched_sites(table: Table) -> tuple[str, ...]:
    """The sites that a plan can keep from running, and all whose death that may cause."""
    touched = {path for cells in table.cells for path in cells}
    units = [unit.path for unit in table.outline.of_level("unit")] if touched else []
    return (*units, *(site.path for site in table.outline.of_level("subunit") if site.path in touched))


def wearing(answering: Callable[..., Any], path: str) -> Wearing:
    """A forward that lets `answering` say what a site hands on."""

    def wear(module_forward: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            return answering(path, module_forward, args, kwargs)

        return forward

    return wear


@contextmanager
def worn(module: nn.Module, forwards: Mapping[str, Wearing]) -> Iterator[None]:
    """Give the modules at these paths other forwards inside the block ('' is the module itself).

    An offloaded module wears ours under its offloading, which comes and goes with every run of a pipeline.

    Raises:
        RigError: on leaving, if somebody put a forward over ours and did not take it off: it is gone with ours.
    """
    put_on: list[tuple[str, nn.Module, bool, Any, Any]] = []
    covered: list[str] = []
    try:
        for path, wear in forwards.items():
            piece = module.get_submodule(path)
            place = UNDER_OFFLOADING if not path and UNDER_OFFLOADING in piece.__dict__ else "forward"
            stood = getattr(piece, place)
            ours = wear(stood)
            put_on.append((path, piece, "forward" not in piece.__dict__, stood, ours))
            piece.__dict__[place] = ours
        yield
    finally:
        for path, piece, bare, stood, ours in reversed(put_on):
            found = [place for place in ("forward", UNDER_OFFLOADING) if piece.__dict__.get(place) is ours]
            covered += [] if found else [path]
            piece.__dict__[found[0] if found else "forward"] = stood
            if bare and piece.__dict__.get("forward") is stood:
                del piece.__dict__["forward"]
    if covered:
        raise RigError(
            f"a forward was put on {covered[0]!r} under the plan and not taken off before it ended. It is off now; "
            "patch the model before the plan is applied, or undo within it."
        )
