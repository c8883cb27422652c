"""Let a live plan answer with graphs: the walk, the memory and the forecasts stay where they are."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import OutputExists, RigError
from ..plan import Plan
from ..rig import Host, Live, applied
from ..rig.answering import Wearing
from ..saving import cache_folder, new_folder
from .backends import BACKENDS, Backend, Ready
from .exporting import digest_of, exported, for_export
from .kinds import Kind, Kinds
from .row_graph import CallForm

SHAPED_BY = ("intarsia", "torch", "diffusers")  # whose versions say what a graph looks like
FILES = 2  # raise it when converted files are written otherwise, so that older ones are not read


class Graphs:
    """The graphs of one live plan on one backend; each is made when its row first comes, and kept on disk.

    Args:
        ready: Graphs that are loaded already, filled as more are; pass the same one again to load none twice.

    Attributes:
        made: For every graph that this object has made or found: which, and in how many seconds.
    """

    def __init__(
        self, live: Live, backend: Backend, keep: Path, ready: dict[str, Ready], say: Callable[[str], None]
    ) -> None:
        self.live, self.backend, self.keep, self.ready, self.say = live, backend, keep, ready, say
        self.version = backend.version()
        self.kinds = Kinds(live.table)
        self.made: list[tuple[str, float]] = []
        self.one_at_a_time = threading.Lock()

    @cached_property
    def weights(self) -> str:
        return digest_of(self.live.host.module)

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
        output = output.to(dtype)
        if live.table.outline.root in row.kept:
            row.remember(live.table.outline.root, output.clone())
        return output

    def graph(self, kind: Kind, form: CallForm, given: list[Tensor], dtype: torch.dtype) -> Ready:
        """The graph of a kind of row for calls of one form, made now if it is not there yet."""
        words = [kind.key, form, dtype, given[0].device, self.live.host.state()]
        key = hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()
        if key not in self.ready:
            began = time.perf_counter()
            how, self.ready[key] = self.make(key, kind, form, given, dtype)
            self.made.append((how, time.perf_counter() - began))
        return self.ready[key]

    def make(self, key: str, kind: Kind, form: CallForm, given: list[Tensor], dtype: torch.dtype) -> tuple[str, Ready]:
        """Convert a graph, or find it converted on disk."""
        backend, table = self.backend, self.live.table
        if backend.convert is None:
            host = for_export(self.live.host, single=False)
            return "exported", backend.ready(exported(table, host, kind, form, given), dtype)
        known = [key, str(FILES), self.weights, self.version, *(f"{name} {version(name)}" for name in SHAPED_BY)]
        folder = self.keep / hashlib.sha256("\n".join(known).encode()).hexdigest()[:20]
        how = "found"
        if not folder.exists():
            how = "converted"
            self.say(
                f"converting for {backend.name}, once: a row that computes {len(kind.settled.computed)} of "
                f"{len(table.outline.of_level('unit'))} units"
            )
            host = for_export(self.live.host, single=True)
            with contextlib.suppress(OutputExists), new_folder(folder) as part:  # another process may have been faster
                backend.convert(exported(table, host, kind, form, given), part / f"row{backend.suffix}", dtype)
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
    ready: dict[str, Ready] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Live]:
    """Run a host under a plan inside the block, each kind of row as a graph of its own.

    Args:
        backend: A name of `BACKENDS`: `compile` for torch.compile, `onnx`, `openvino`.
        keep: Where converted graphs are kept; the user's cache folder if not given. Nothing in it is ever removed.
        ready: Graphs loaded by an earlier block for this model and backend; filled for later ones.
        others, lanes: As for `applied`.

    Raises:
        RigError: no such backend, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise RigError(f"no backend is called {backend!r}: {', '.join(BACKENDS)}.")

    def graphs(live: Live) -> Wearing:
        live.graphs = Graphs(
            live, BACKENDS[backend], keep or cache_folder() / "graphs", {} if ready is None else ready, say
        )

        def wear(_module_forward: Any) -> Any:
            def forward(*args: Any, **kwargs: Any) -> Any:
                return live.host.like_answer(live.graphs.answer(args, kwargs), kwargs)

            return forward

        return wear

    with applied(plan, host, others=others, lanes=lanes, graphs=graphs) as live:
        yield live
