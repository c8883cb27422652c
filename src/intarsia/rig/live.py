"""Run a model under a plan; leave it as it was on the way out.

The clock is a native pre-hook. Only the sites that a plan can keep from running are wrapped, and a wrapper
asks one question: does this row compute, recall or pass this site, or does nobody read it?
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RigError
from ..plan import Plan, Table, resolve
from ..plan.liveness import Flow
from .clock import CallClock
from .contract import Host

UNDER_PLAN: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


@dataclass(frozen=True)
class Call:
    """One call of the host as it happened.

    Attributes:
        row, lane: Where the clock stood.
        time: The sampler's time step.
        answered_by: The model that answered instead, or None.
        computed, recalled: How many units ran, and how many answered from memory.
        refreshed: The inputs had changed shape mid-run, so the whole host ran whatever the plan said.
    """

    row: int
    lane: int
    time: float
    answered_by: str | None
    computed: int
    recalled: int
    refreshed: bool


@dataclass
class Live:
    """A plan at work on a host.

    Attributes:
        trace: Every call so far, oldest first.
        remembered: For each lane, the features that are kept, by site.
    """

    table: Table
    clock: CallClock
    trace: list[Call] = field(default_factory=list)
    remembered: dict[int, dict[str, Any]] = field(default_factory=dict)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    row: int = 0
    lane: int = 0
    settled: Flow | None = None
    inputs: tuple | None = None

    def restart(self) -> None:
        """Forget everything; the next call is the first of a run."""
        self.clock.restart()
        self.remembered.clear()
        self.inputs = None

    @property
    def remembered_bytes(self) -> int:
        """Bytes of the features kept right now."""
        tensors = (first_tensor(kept) for lane in self.remembered.values() for kept in lane.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def begin(self, time: float, sample: Tensor) -> None:
        """Take note of a call: settle which row it is and what will run."""
        self.row, self.lane, fresh = self.clock.tick(time)
        inputs = (sample.shape, sample.dtype, sample.device)
        changed = not fresh and inputs != self.inputs
        if fresh or changed:
            self.remembered.clear()
        self.inputs = inputs
        whole = changed or (self.lane not in self.remembered and self.row > 0)
        self.settled = None if whole else self.table.flows[self.row]
        name = self.table.answering[self.row]
        units = len(self.table.outline.of_level("unit"))
        self.trace.append(
            Call(
                row=self.row,
                lane=self.lane,
                time=time,
                answered_by=name,
                computed=0 if name else units if whole else len(self.table.flows[self.row].computed),
                recalled=0 if name or whole else len(self.table.flows[self.row].recalled),
                refreshed=whole,
            )
        )
        self.remembered.setdefault(self.lane, {})

    def end(self) -> None:
        """Forget what no later row will ask for."""
        memory = self.remembered[self.lane]
        for path in memory.keys() - self.table.kept[self.row]:
            del memory[path]

    def answer(self, path: str, module_forward: Any, args: tuple, kwargs: dict) -> Any:
        """What a site hands on in this row."""
        settled = self.settled
        if settled is None or path in settled.running:
            output = module_forward(*args, **kwargs)
            self.shapes[path] = first_tensor(output).shape
            if path in self.table.kept[self.row]:
                self.remembered[self.lane][path] = output
            return output
        if path in settled.recalled:
            return self.remembered[self.lane][path]
        given = args[0] if args else kwargs["hidden_states"]
        if path in settled.passed:
            passes = self.table.outline.by_path[path].skip == "identity"
            return like_output(given if passes else torch.zeros_like(given), path, kwargs)
        return like_output(placeholder(self.shapes.get(path, given.shape), given), path, kwargs)


def first_tensor(output: Any) -> Tensor:
    """The tensor that a module hands on, alone or first in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def like_output(tensor: Tensor, path: str, kwargs: Mapping[str, Any]) -> Any:
    """A tensor in the form in which the site's callers expect it."""
    return (tensor,) if kwargs.get("return_dict") is False else tensor


def placeholder(shape: torch.Size, like: Tensor) -> Tensor:
    """Stands where a value that nobody reads would be: one not-a-number, seen at every place.

    If a reader was overlooked, the not-a-number shows in the picture at once.
    """
    return torch.full((), float("nan"), dtype=like.dtype, device=like.device).expand(shape)


@contextmanager
def applied(plan: Plan, host: Host, *, others: Mapping[str, Host] | None = None, lanes: int = 1) -> Iterator[Live]:
    """Run a host under a plan inside the block.

    Args:
        others: The models that `Use` may call.
        lanes: Calls within one row: 2 where guidance asks for the two predictions one after the other.

    Raises:
        PlanError, FitError: before anything is touched.
        RigError: the host is under a plan already.
    """
    others = dict(others or {})
    outline = host.outline
    live = Live(resolve(plan, outline, others), CallClock(plan.rows, lanes))
    module = host.module
    if module in UNDER_PLAN:
        raise RigError("this model is under a plan already. Join the two plans with '|' and apply them once.")

    def before(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        live.begin(float(host.time_of(args, kwargs)), host.sample_of(args, kwargs))

    def after(_module: nn.Module, _args: tuple, _output: Any) -> None:
        live.end()

    touched = {path for cells in live.table.cells for path in cells}
    wrapped = outline.of_level("unit") if touched else ()
    subunits = [site for site in outline.of_level("subunit") if site.path in touched]
    forwards: list[tuple[nn.Module, Any]] = []
    handles = (module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after))
    UNDER_PLAN.add(module)
    try:
        for site in (*wrapped, *subunits):
            piece = module.get_submodule(site.path)
            forwards.append((piece, replace_forward(piece, wrapper(live, site.path, piece.forward))))
        if any(live.table.answering):
            forwards.append((module, replace_forward(module, switch(live, others, module.forward))))
        yield live
    finally:
        for handle in handles:
            handle.remove()
        for piece, before_us in reversed(forwards):
            restore_forward(piece, before_us)
        UNDER_PLAN.discard(module)


def wrapper(live: Live, path: str, module_forward: Any) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return live.answer(path, module_forward, args, kwargs)

    return forward


def switch(live: Live, others: Mapping[str, Host], module_forward: Any) -> Any:
    """The host's forward, unless the row says that another model answers."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        name = live.table.answering[live.row]
        return module_forward(*args, **kwargs) if name is None else others[name].module(*args, **kwargs)

    return forward


def replace_forward(module: nn.Module, forward: Any) -> Any:
    """Put a forward on the instance; returns what `restore_forward` needs to undo it."""
    before_us = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    return before_us


def restore_forward(module: nn.Module, before_us: Any) -> None:
    """Take our forward off again, and put back one that stood there before."""
    if before_us is None:
        module.__dict__.pop("forward", None)
    else:
        module.__dict__["forward"] = before_us
