"""What tells the seconds of a call: the clock on the wall, or a sum that is the same on every machine."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..errors import FitError
from ..graphs.backends import Ready
from ..graphs.exporting import digest_of
from ..rig import count_macs
from ..rig.machine import machine, processors, with_threads
from ..rig.meter import settle
from .runtimes import TIMED, TORCH, backend_of, convert, file_of

Machine = Mapping[str, str | int]
FEWEST = 5  # timed calls of even the slowest model, where there is no hurry
NO_HURRY = float("inf")


class Clock(Protocol):
    """Measures one call of a model."""

    @property
    def machine(self) -> Machine:
        """What its seconds depend on; devices are refused where it differs."""
        ...

    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        """Seconds of one call."""
        ...


AnyClock = TypeVar("AnyClock", bound=Clock)


@dataclass(frozen=True)
class WallClock:
    """The median of several calls by PyTorch, after others that warm up.

    Attributes:
        calls: That are timed; more are made until `least` seconds have gone by, and fewer, though `FEWEST` at least,
            once `most` have.
        limit: Seconds after which no call is made, be it to warm up or to be timed. There is one in any case.
        threads: That calls run with; as torch has them, if None.
    """

    calls: int = 20
    warmups: int = 3
    least: float = 0.02
    most: float = 0.3
    limit: float = NO_HURRY
    threads: int | None = None

    @property
    def machine(self) -> Machine:
        with with_threads(self.threads):
            return machine()

    @torch.inference_mode()
    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        with with_threads(self.threads):
            return self.median(lambda: model(inputs))

    def median(self, call: Callable[[], object]) -> float:
        """Seconds of anything that can be called."""
        warming: list[float] = []
        while len(warming) < self.warmups and sum(warming) < self.limit:
            warming.append(timed(call))
        taken = warming[-1:] if warming and sum(warming) >= self.limit else [timed(call)]
        while self.asks_for_more(taken) and sum(warming) + sum(taken) < self.limit:
            taken.append(timed(call))
        return statistics.median(taken)

    def asks_for_more(self, taken: Sequence[float]) -> bool:
        """Whether calls that took so many seconds are too few, limit aside."""
        lasted = sum(taken)
        return (len(taken) < self.calls or lasted < self.least) and (len(taken) < FEWEST or lasted < self.most)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call, until all that it launched is done."""
    settle()
    began = time.perf_counter()
    call()
    settle()
    return time.perf_counter() - began


@dataclass
class Stopwatch:
    """Seconds since it was made, but for those in which it was stopped.

    Attributes:
        aside: Seconds in which it was stopped.
    """

    began: float = field(default_factory=lambda: time.perf_counter())
    aside: float = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began - self.aside

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Seconds inside the block are set aside."""
        began = time.perf_counter()
        yield
        self.aside += time.perf_counter() - began


@dataclass(frozen=True)
class RuntimeClock:
    """A wall clock for models as another runtime runs them: each is converted first.

    Attributes:
        runtime: `onnx` or `openvino`.
        wall: How many calls, with how many threads.
        kept: A folder of one supernet's converted models, so that none is converted twice; None to keep none.
        held: The model that was called last, so that none is made ready twice in a row, and by how many threads.

    Raises:
        FitError: models are not timed on that runtime.
        RigError: from its methods: the runtime is not installed.
    """

    runtime: str
    wall: WallClock = WallClock()
    kept: Path | None = None
    held: dict[tuple[Path, int], Ready] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.runtime not in TIMED:
            raise FitError(f"models are timed on {TORCH}, {' and '.join(TIMED)}, not on {self.runtime!r}.")

    @property
    def machine(self) -> Machine:
        return {**self.wall.machine, "runtime": backend_of(self.runtime).version()}

    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        with keeping(self) as clock:
            path = clock.converted(model, inputs)
            with with_threads(self.wall.threads):
                run = clock.ready(path)
                return self.wall.median(lambda: run([inputs]))

    def ready(self, path: Path) -> Ready:
        """What calls a converted model with as many threads as torch has."""
        key = path, torch.get_num_threads()
        if key not in self.held:
            self.held.clear()
            self.held[key] = backend_of(self.runtime).ready(path, torch.float32)
        return self.held[key]

    def converted(self, model: nn.Module, inputs: Tensor) -> Path:
        """The file of a model, in a folder of its own in `kept`; converted now if it was not before."""
        assert self.kept is not None
        path = self.kept / digest_of(model) / file_of(self.runtime)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            convert(model, inputs, self.runtime, path)
        return path

    def files(self, model: nn.Module) -> dict[str, bytes]:
        """What a model was converted into: the content of each file, by name."""
        assert self.kept is not None
        return {path.name: path.read_bytes() for path in (self.kept / digest_of(model)).iterdir()}


@contextmanager
def keeping(clock: AnyClock) -> Iterator[AnyClock]:
    """The clock; if it converts models, they are kept at least inside the block."""
    if isinstance(clock, RuntimeClock) and clock.kept is None:
        with TemporaryDirectory() as folder:
            yield replace(clock, kept=Path(folder))
    else:
        yield clock


def hurried(clock: AnyClock, limit: float, share: float = 1.0) -> AnyClock:
    """The clock; if it is of the wall, or has one, a measurement lasts so many seconds and hardly longer.

    Args:
        share: Of its calls, that are timed; rounded up.
    """
    if isinstance(clock, RuntimeClock):
        return replace(clock, wall=hurried(clock.wall, limit, share))
    if not isinstance(clock, WallClock):
        return clock
    calls, least, most = math.ceil(share * clock.calls), share * clock.least, share * clock.most
    return replace(clock, calls=calls, least=least, most=most, limit=limit)


def lasting(clock: AnyClock, least: float) -> AnyClock:
    """The clock; if it is of the wall, or has one, a measurement lasts so many seconds at least."""
    if isinstance(clock, RuntimeClock):
        return replace(clock, wall=lasting(clock.wall, least))
    if not isinstance(clock, WallClock):
        return clock
    return replace(clock, least=max(clock.least, least), most=max(clock.most, least))


def is_of_the_wall(clock: Clock) -> bool:
    """Whether what it says is of a moment: another time it would say something else."""
    return isinstance(clock, WallClock | RuntimeClock)


def clock_for(machine: Machine) -> "WallClock | RuntimeClock":
    """What measures as that machine was measured: on its runtime, with its threads, or all that there are here.

    Raises:
        FitError: it names a runtime that models are not timed on.
    """
    threads = machine.get("threads")
    wall = WallClock(threads=min(threads, processors()) if isinstance(threads, int) and threads > 0 else None)
    runtime = str(machine.get("runtime", TORCH)).partition(" ")[0]
    return wall if runtime == TORCH else RuntimeClock(runtime, wall)


@dataclass(frozen=True)
class MacsClock:
    """So many seconds a call and so many a multiply-accumulate: for tests, and for planning without a machine."""

    each_call: float = 1e-4
    each_mac: float = 1e-9

    @property
    def machine(self) -> Machine:
        return {"device": "macs clock", "threads": 1, "torch": "any"}

    @torch.no_grad()
    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        with count_macs() as counted:
            model(inputs)
        return self.each_call + self.each_mac * counted.total
