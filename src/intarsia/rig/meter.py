"""What a model really costs: multiply-accumulates counted as they happen, seconds taken side by side."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

# The products of queries with keys and of weights with values. In a UNet nothing else is a batched product.
ATTENTION_PRODUCTS = ("bmm", "baddbmm", "_scaled_dot_product", "_efficient_attention", "_flash_attention")


def attention_flops(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: object, **__: object
) -> int:
    """Of one scaled dot product attention, from its shapes."""
    return sdpa_flop_count(query, key, value)


# torch counts the fused attention of every device but the CPU, and some processors have one.
NOT_COUNTED_BY_TORCH = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}


@dataclass
class Macs:
    """Multiply-accumulates seen so far; 1 MAC is 2 floating point operations."""

    total: int = 0
    attention_products: int = 0

    @property
    def without_attention_products(self) -> int:
        """The count that BK-SDM, DeepCache and T-GATE publish."""
        return self.total - self.attention_products


@contextmanager
def count_macs() -> Iterator[Macs]:
    """Count the multiply-accumulates of everything that runs inside. On the meta device nothing is computed."""
    macs = Macs()
    counter = FlopCounterMode(display=False, custom_mapping=NOT_COUNTED_BY_TORCH)
    with counter:
        yield macs
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        macs.total += flops // 2
        if any(name in str(operator) for name in ATTENTION_PRODUCTS):
            macs.attention_products += flops // 2


@dataclass(frozen=True)
class Seconds:
    """Times of several candidates, taken in turn so that a busy machine is unjust to none.

    Attributes:
        names: The candidates; ratios are against the first.
        rounds: For each round, the seconds of each candidate.
    """

    names: tuple[str, ...]
    rounds: tuple[tuple[float, ...], ...]

    def ratio(self, name: str) -> tuple[float, float, float]:
        """Seconds over the first candidate's in the same round: median, lowest and highest."""
        place = self.names.index(name)
        ratios = [times[place] / times[0] for times in self.rounds]
        return statistics.median(ratios), min(ratios), max(ratios)

    def speedup(self, name: str) -> float:
        """How many times faster than the first candidate: one over the median ratio."""
        return 1 / self.ratio(name)[0]


def settle() -> None:
    """Wait for all that was launched: on CUDA a call ends before its work does."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_seconds(candidates: Mapping[str, Callable[[], object]], *, rounds: int, warmups: int = 1) -> Seconds:
    """Time candidates against each other, interleaved."""
    for _ in range(warmups):
        for call in candidates.values():
            call()
    taken: list[Sequence[float]] = []
    for _ in range(rounds):
        times = []
        for call in candidates.values():
            began = time.perf_counter()
            call()
            settle()
            times.append(time.perf_counter() - began)
        taken.append(times)
    return Seconds(tuple(candidates), tuple(tuple(times) for times in taken))


@contextmanager
def unit_seconds(pieces: Mapping[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Seconds that each of these modules takes inside the block, what runs in another of them not counted with it."""
    taken = dict.fromkeys(pieces, 0.0)
    open_since: list[list[float]] = []  # of each module that is under way: when it began, and what others took within

    def before(_module: nn.Module, _args: object) -> None:
        settle()
        open_since.append([time.perf_counter(), 0.0])

    def after(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, _output: object) -> None:
            settle()
            began, inner = open_since.pop()
            lasted = time.perf_counter() - began
            taken[path] += lasted - inner
            if open_since:
                open_since[-1][1] += lasted

        return hook

    handles = [piece.register_forward_pre_hook(before) for piece in pieces.values()]
    handles += [piece.register_forward_hook(after(path)) for path, piece in pieces.items()]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()
