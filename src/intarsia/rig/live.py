"""Run a model under a plan; leave it as it was on the way out.

The clock is a native pre-hook. Only the sites that a plan can keep from running are wrapped, and a wrapper
asks one question: does this row compute, recall or pass this site, or does nobody read it? Each thread has
a run of its own, so that two pipelines can share a model.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError, RigError
from ..plan import Plan, Skip, Table, Use, resolve
from ..plan.liveness import Flow
from .answering import Row, Wearing, answer, first_tensor, refuse_dead, wearing, worn
from .clock import CallClock
from .compiled import refuse_compiled
from .contract import Host
from .idle import block_answer, watch_of
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
    answers: Row | None = None  # how the sites answer in the call that is under way
    inputs: tuple[Any, ...] | None = None
    unfinished: bool = False  # the last call has not come to its end


class Live:
    """A plan at work on a host."""

    def __init__(self, table: Table, host: Host, lanes: int) -> None:
        self.table = table
        self.host = host
        self.lanes = lanes
        self.watch = watch_of(table, host)
        self.runs_are_told = False  # `restart` begins them, not a repeated first time step
        self.sessions = threading.local()
        self.graphs: Any = None  # what answers in place of the host's modules, if anything does

    @property
    def session(self) -> Session:
        """This thread's walk, in the context that it is in."""
        mine = self.sessions.__dict__
        name = mine.setdefault("context", "")
        walks = mine.setdefault("walks", {})
        if name not in walks:
            walks[name] = Session(CallClock(len(self.table), self.lanes, told=self.runs_are_told))
        return walks[name]

    @contextmanager
    def context(self, name: str) -> Iterator[None]:
        """Calls inside the block are a walk of their own: the predictions with and without words, say."""
        before = self.sessions.__dict__.get("context", "")
        self.sessions.context = name
        try:
            yield
        finally:
            self.sessions.context = before

    @property
    def trace(self) -> list[Call]:
        """Every call of the run that this thread is in or has ended last, oldest first."""
        return self.session.trace

    @property
    def remembered_bytes(self) -> int:
        """Bytes of the features that this thread keeps right now."""
        return self.session.memory.bytes

    def restart(self) -> None:
        """Forget what this thread remembers, in every context; its next call in each is the first of a run."""
        for walk in self.sessions.__dict__.get("walks", {}).values():
            walk.clock.restart()
            walk.memory.clear()

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take note of a call: settle which row it is and what will run."""
        now = self.session
        if now.unfinished:
            self.restart()
        now.unfinished = True
        time, sample = self.host.time_of(args, kwargs), self.host.sample_of(args, kwargs)
        row_before = now.row
        now.row, now.lane, fresh = now.clock.tick(
            time, self.host.step_of(args, kwargs), self.host.words_of(args, kwargs)
        )
        if now.row != row_before:
            now.memory.forget(now.clock.lanes.missed)
        inputs = (sample.shape, sample.dtype, sample.device)
        if fresh or inputs != now.inputs:
            now.memory.clear()
        if fresh:
            now.trace = []
        now.inputs = inputs
        if self.table.answering[now.row] is None:
            now.memory.open(now.lane)
        name = self.table.answering[now.row]
        whole = name is None and not now.memory.holds(now.lane, self.flow.recalled)
        now.answers = self.answers(now, whole, self.host.edits_in_place(kwargs))
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

    def answers(self, now: Session, whole: bool, guarded: bool) -> Row:
        """How the sites answer in the call that begins."""
        row, lane, memory = now.row, now.lane, now.memory
        settled, kept = self.table.flows[row], self.table.kept[row]

        def recall(path: str) -> Tensor:
            return memory.told(lane, path, row, settled.recalled[path].forecast)

        def remember(path: str, value: Tensor) -> None:
            memory.put(lane, path, row, value, kept[path])

        return Row(None if whole else settled, kept, recall, remember, guarded, now.shapes)

    @property
    def flow(self) -> Flow:
        return self.table.flows[self.session.row]

    def answer(self, path: str, module_forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a site hands on in the call that is under way."""
        now = self.session.answers
        assert now is not None, "a site is asked only within a call of the host"
        return answer(now, self.table, self.host, path, module_forward, args, kwargs)

    def block_answer(self, path: str, module_forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a block hands on in the call that is under way."""
        walk = self.session
        assert walk.answers is not None, "a block is asked only within a call of the host"
        idle, units = path in self.watch.idle[walk.row], self.watch.blocks[path]
        return block_answer(walk.answers, self.host, idle, path, units, module_forward, args, kwargs)

    def end(self, output: Any) -> None:
        """Forget what no later row will ask for.

        Raises:
            RigError: the output was made from what was not computed: the host's sites are not as it says.
        """
        refuse_dead("the host's output", (first_tensor(output),))
        now = self.session
        now.unfinished = False
        now.memory.keep_only(now.lane, dict(self.table.kept[now.row]))


@contextmanager
def applied(
    plan: Plan,
    host: Host,
    *,
    others: Mapping[str, Host] | None = None,
    lanes: int = 1,
    graphs: Callable[["Live"], Wearing] | None = None,
) -> Iterator[Live]:
    """Run a host under a plan inside the block.

    Args:
        others: The models that `Use` may call.
        lanes: Calls within one row: 2 where guidance asks for the two predictions one after the other. Some steps may
            go without one of them; if each call is told new tensors, that must be the later one.
        graphs: Answers for the host with one graph per kind of row (`intarsia.graphs`), in place of its modules.

    Raises:
        PlanError, FitError: before anything is touched.
        RigError: the host is under a plan already, or compiled.
    """
    others = dict(others or {})
    module = host.module
    if module in UNDER_PLAN:
        raise RigError("this model is under a plan already. Join the two plans with '|' and apply them once.")
    outline = host.outline
    live = Live(resolve(plan, outline, others), host, lanes)
    for name in sorted({name for name in live.table.answering if name is not None}):
        reason = host.misfit(others[name])
        if reason is not None:
            raise FitError(f"the model {name!r} cannot answer in this one's place: {reason}.")
    for path, action in live.table.cells[0].items():
        if isinstance(action, Skip) and outline.by_path[path].skip == "cut":
            raise FitError(f"{path!r} can only be cut out of a model for good: 'intarsia assemble', or rig.bake.")
        if isinstance(action, Use):
            raise FitError(
                f"{path!r} can only be filled from {action.name!r} for good: 'intarsia assemble', or rig.bake."
            )

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        refuse_compiled(module)
        live.begin(args, kwargs)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        live.end(output)

    forwards = {path: wearing(live.block_answer, path) for path in live.watch.blocks}
    forwards |= {path: wearing(live.answer, path) for path in live.watch.sites}
    if graphs is not None:
        forwards = {"": graphs(live)}
    if any(live.table.answering) or any(live.table.told):
        forwards |= {"": standing_in(live, others, forwards.get(""))}
    refuse_compiled(module, {"", *forwards})
    handles = (module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after))
    UNDER_PLAN.add(module)
    try:
        with worn(module, forwards):
            yield live
    finally:
        for handle in handles:
            handle.remove()
        UNDER_PLAN.discard(module)


def standing_in(live: Live, others: Mapping[str, Host], inner: Wearing | None) -> Wearing:
    """The host's forward, unless the row says that another model answers, or that memory does."""

    def wear(module_forward: Any) -> Any:
        own_forward = module_forward if inner is None else inner(module_forward)

        def forward(*args: Any, **kwargs: Any) -> Any:
            now = live.session
            name = live.table.answering[now.row]
            if name is None:
                assert now.answers is not None, "called within a call of the host"
                if not live.table.told[now.row] or now.answers.settled is None:
                    return own_forward(*args, **kwargs)
                return live.host.like_answer(now.answers.recall(live.table.outline.root).clone(), kwargs)
            if (reason := live.host.misheard(others[name], kwargs)) is not None:
                raise FitError(f"the model {name!r} cannot answer this call: {reason}. Let the host answer it.")
            return others[name].module(*args, **live.host.told(others[name], kwargs))

        return forward

    return wear
