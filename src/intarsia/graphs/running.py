"""Let a live plan answer with graphs: the walk, the memory and the forecasts stay where they are."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RigError
from ..plan import Plan
from ..rig import Host, Live, applied
from ..rig.answering import Wearing
from ..saving import cache_folder, new_folder
from .backends import BACKENDS, Backend, Ready
from .exporting import digest_of, exported, in_single_precision
from .kinds import Kind, Kinds
from .row_graph import CallForm


class Graphs:
    """The graphs of one live plan on one backend; each is made when its row first comes, and kept on disk.

    Attributes:
        made: For every graph that this object has made or found: which, and in how many seconds.
    """

    def __init__(self, live: Live, backend: Backend, keep: Path, say: Callable[[str], None]) -> None:
        self.live, self.backend, self.keep, self.say = live, backend, keep, say
        self.version = backend.version()
        self.kinds = Kinds(live.table)
        self.ready: dict[tuple[Kind, str], Ready] = {}
        self.made: list[tuple[str, float]] = []
        self.one_at_a_time = threading.Lock()

    @cached_property
    def weights(self) -> str:
        return digest_of(self.live.host.module)

    @cached_property
    def host(self) -> Host:
        """What is exported: converters are at home in single precision."""
        return self.live.host if self.backend.convert is None else in_single_precision(self.live.host)

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """What the host answers in the call that is under way."""
        live, now = self.live, self.live.session
        row = now.answers
        kind = self.kinds.whole if row is None or row.settled is None else self.kinds.of_row[now.row]
        assert row is not None and kind is not None, "called within a call of the host, in a row that it answers"
        form, tensors = CallForm.of(live.host.module, args, kwargs)
        given = [*tensors, *(row.recall(path) for path in kind.recalled)]
        dtype = live.host.sample_of(args, kwargs).dtype
        if self.backend.convert is not None:
            given = [single(value, self.backend.name) for value in given]
        with self.one_at_a_time:
            output, *kept = self.graph(kind, form, given, dtype)(given)
        for path, value in zip(kind.kept, kept, strict=True):
            if path in row.kept:
                row.remember(path, value.to(dtype))
        return output.to(dtype)

    def graph(self, kind: Kind, form: CallForm, given: list[Tensor], dtype: torch.dtype) -> Ready:
        """The graph of a kind of row for calls of one form, made now if it is not there yet."""
        key = kind, str(form)
        if key not in self.ready:
            began = time.perf_counter()
            how, self.ready[key] = self.make(kind, form, given, dtype)
            self.made.append((how, time.perf_counter() - began))
        return self.ready[key]

    def make(self, kind: Kind, form: CallForm, given: list[Tensor], dtype: torch.dtype) -> tuple[str, Ready]:
        """Convert a graph, or find it converted on disk."""
        backend, table = self.backend, self.live.table
        if backend.convert is None:
            return "exported", backend.ready(exported(table, self.host, kind, form, given), dtype)
        settled = kind.settled
        words = [self.version, torch.__version__, self.weights, form, dtype, kind.recalled, kind.kept]
        words += [sorted(settled.running), sorted(settled.passed), sorted(table.residual)]
        folder = self.keep / hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()[:20]
        how = "found"
        if not folder.exists():
            how = "converted"
            self.say(
                f"converting for {backend.name}, once: a row that computes {len(kind.settled.computed)} of "
                f"{len(table.outline.of_level('unit'))} units"
            )
            with new_folder(folder) as part:
                backend.convert(exported(table, self.host, kind, form, given), part / f"row{backend.suffix}", dtype)
        return how, backend.ready(folder / f"row{backend.suffix}", dtype)


def single(value: Tensor, backend: str) -> Tensor:
    """A tensor as converted graphs take it.

    Raises:
        RigError: it is not on the CPU.
    """
    if value.device.type != "cpu":
        raise RigError(f"the backend {backend!r} runs on the CPU, and the model is on {value.device}.")
    return value.float() if value.is_floating_point() else value


@contextmanager
def applied_as_graphs(
    plan: Plan,
    host: Host,
    backend: str,
    *,
    others: Mapping[str, Host] | None = None,
    lanes: int = 1,
    keep: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Live]:
    """Run a host under a plan inside the block, each kind of row as a graph of its own.

    Args:
        backend: A name of `BACKENDS`: `compile` for torch.compile, `onnx`, `openvino`.
        keep: Where converted graphs are kept; the user's cache folder if not given.
        others, lanes: As for `applied`.

    Raises:
        RigError: no such backend, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise RigError(f"no backend is called {backend!r}: {', '.join(BACKENDS)}.")

    def graphs(live: Live) -> Wearing:
        live.graphs = Graphs(live, BACKENDS[backend], keep or cache_folder() / "graphs", say)

        def wear(_module_forward: Any) -> Any:
            def forward(*args: Any, **kwargs: Any) -> Any:
                return live.host.like_answer(live.graphs.answer(args, kwargs), kwargs)

            return forward

        return wear

    with applied(plan, host, others=others, lanes=lanes, graphs=graphs) as live:
        yield live
