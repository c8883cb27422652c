"""Run a model under a plan; leave it as it was on the way out.

The clock is a native pre-hook. Only the sites that a plan can keep from running are wrapped, and a wrapper
asks one question: does this row compute, recall or pass this site, or does nobody read it? Each thread has
a run of its own, so that two pipelines can share a model.
"""

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError, RigError
from ..plan import Plan, Skip, Table, resolve
from ..plan.liveness import Flow
from .clock import CallClock
from .contract import Host
from .dead import Dead, first_dead
from .memory import Memory

UNDER_PLAN: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


@dataclass(frozen=True)
class Call:
    """One call of the host as it happened.

    Attributes:
        row, lane: Where the clock stood.
        time: The sampler's time step.
        answered_by: The model that answered instead, or None.
        computed, recalled: How many units ran, and how many units and subunits answered from memory.
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
class Session:
    """One thread's walk through the plan."""

    clock: CallClock
    trace: list[Call] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    row: int = 0
    lane: int = 0
    settled: Flow | None = None  # None: the whole host runs
    inputs: tuple[Any, ...] | None = None
    unfinished: bool = False  # the last call has not come to its end
    guarded: bool = False  # features may be edited in place downstream, so copies are handed out


class Live:
    """A plan at work on a host."""

    def __init__(self, table: Table, host: Host, lanes: int) -> None:
        self.table = table
        self.host = host
        self.lanes = lanes
        self.sessions = threading.local()

    @property
    def session(self) -> Session:
        """This thread's walk."""
        if not hasattr(self.sessions, "mine"):
            self.sessions.mine = Session(CallClock(len(self.table), self.lanes))
        return self.sessions.mine

    @property
    def trace(self) -> list[Call]:
        """Every call of the run that this thread is in or has ended last, oldest first."""
        return self.session.trace

    @property
    def remembered_bytes(self) -> int:
        """Bytes of the features that this thread keeps right now."""
        return self.session.memory.bytes

    def restart(self) -> None:
        """Forget everything; the next call is the first of a run."""
        self.session.clock.restart()
        self.session.memory.clear()

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take note of a call: settle which row it is and what will run."""
        now = self.session
        if now.unfinished:
            self.restart()
        now.unfinished = True
        time, sample = self.host.time_of(args, kwargs), self.host.sample_of(args, kwargs)
        now.row, now.lane, fresh = now.clock.tick(time)
        inputs = (sample.shape, sample.dtype, sample.device)
        if fresh or inputs != now.inputs:
            now.memory.clear()
        if fresh:
            now.trace = []
        now.inputs = inputs
        whole = now.row > 0 and not now.memory.knows(now.lane)
        if self.table.answering[now.row] is None:
            now.memory.open(now.lane)
        now.settled = None if whole else self.table.flows[now.row]
        now.guarded = self.host.edits_in_place(kwargs)
        name = self.table.answering[now.row]
        idle = whole or name is not None
        now.trace.append(
            Call(
                row=now.row,
                lane=now.lane,
                time=time,
                answered_by=name,
                computed=0 if name else len(self.table.outline.of_level("unit") if whole else self.flow.computed),
                recalled=0 if idle else len(self.flow.recalled),
                refreshed=whole,
            )
        )

    @property
    def flow(self) -> Flow:
        return self.table.flows[self.session.row]

    def end(self, output: Any) -> None:
        """Forget what no later row will ask for.

        Raises:
            RigError: the output was made from what was not computed: the host's sites are not as it says.
        """
        refuse_dead("the host's output", (first_tensor(output),))
        now = self.session
        now.unfinished = False
        now.memory.keep_only(now.lane, dict(self.table.kept[now.row]))

    def answer(self, path: str, module_forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a site hands on in this row."""
        now, settled = self.session, self.session.settled
        if settled is None or path in settled.running:
            refuse_dead(path, args)
            output = module_forward(*args, **kwargs)
            now.shapes[path] = first_tensor(output).shape
            depth = self.table.kept[now.row].get(path)
            if depth:
                now.memory.put(now.lane, path, now.row, self.kept_value(path, output, args, kwargs), depth)
            return output
        given = args[0] if args else kwargs["hidden_states"]
        if path in settled.recalled:
            action = settled.recalled[path]
            told = now.memory.told(now.lane, path, now.row, action.forecast)
            if action.carry == "residual":
                told = self.host.shortcut(path, args, kwargs) + told
            elif now.guarded:
                told = told.clone()
            return like_output(told, kwargs)
        if path in settled.passed:
            passes = self.table.outline.by_path[path].skip == "identity"
            return like_output(given if passes else torch.zeros_like(given), kwargs)
        return like_output(placeholder(now.shapes.get(path, given.shape), given), kwargs)

    def kept_value(self, path: str, output: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """What is remembered of an output: itself, or what it adds to the input."""
        value = first_tensor(output)
        if path in self.table.residual:
            return value - self.host.shortcut(path, args, kwargs)
        return value.clone() if self.session.guarded else value


def refuse_dead(reader: str, values: tuple[Any, ...]) -> None:
    """Raise `RigError` if a reader is handed what was not computed."""
    if first_dead(values) is not None:
        raise RigError(f"{reader} reads what the plan left out: the host overlooked a reader. Please report the model.")


def first_tensor(output: Any) -> Tensor:
    """The tensor that a module hands on, alone, first in a tuple, or first in diffusers' kind of one."""
    return output if isinstance(output, Tensor) else output[0]


def like_output(tensor: Tensor, kwargs: Mapping[str, Any]) -> Any:
    """A tensor in the form in which the site's callers expect it."""
    return (tensor,) if kwargs.get("return_dict") is False else tensor


def placeholder(shape: torch.Size, like: Tensor) -> Tensor:
    """Stands where a value that nobody reads would be.

    A compiler sees one number at every place, whose use it then removes; without one it is a `Dead` tensor.
    """
    if torch.compiler.is_compiling():
        return torch.zeros((), dtype=like.dtype, device=like.device).expand(shape)
    return Dead(shape, like)


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
    outline, module = host.outline, host.module
    live = Live(resolve(plan, outline, others), host, lanes)
    cut = [
        path
        for path, action in live.table.cells[0].items()
        if isinstance(action, Skip) and outline.by_path[path].skip == "cut"
    ]
    if cut:
        raise FitError(f"{cut[0]!r} can only be cut out of a model for good: 'intarsia bake', or rig.bake.")
    if module in UNDER_PLAN:
        raise RigError("this model is under a plan already. Join the two plans with '|' and apply them once.")

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        live.begin(args, kwargs)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        live.end(output)

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
    """A site's forward, unless the row says otherwise."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return live.answer(path, module_forward, args, kwargs)

    return forward


def switch(live: Live, others: Mapping[str, Host], module_forward: Any) -> Any:
    """The host's forward, unless the row says that another model answers."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        name = live.table.answering[live.session.row]
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
