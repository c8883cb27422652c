"""How few of the largest model's seconds does the smallest take, in several ways to run it on PyTorch?

    python -m benchmarks.factory.floor            five minutes of quiet processors
    python -m benchmarks.factory.floor --quick    a tiny detector; its figures mean nothing

What a kit makes has its batch norms folded into the convolutions before them. Beside it, in turn: the same with the
norms as they were trained, with channels last, frozen as a trace of TorchScript, and that optimised for inference. In
all of them the smallest model stands beside the largest one run in the same way, on one thread and on two; and seconds
of a call of either beside those of the same model as kits make it. The sprites' kits of three seeds.
"""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import typer
from torch import Tensor, nn

from benchmarks.factory.devices import fresh_kit
from benchmarks.factory.run import KITS
from benchmarks.factory.timing import made_at, shown_to
from benchmarks.results import Claim, at_most, write_result
from intarsia import factory
from intarsia.factory import Kit
from intarsia.factory.clocks import WallClock
from intarsia.shipped import kit_folder

TASK = "red sword"
THREADS = (1, 2)
ROUNDS = 9
FLOOR = 0.25  # of the largest model's seconds
FOLDED = 0.95  # of the seconds of a model whose norms are as they were

Call = Callable[[Tensor], object]


def last(model: nn.Module) -> Call:
    """With channels last in memory, model and pictures."""
    model = model.to(memory_format=torch.channels_last)
    return lambda shown: model(shown.to(memory_format=torch.channels_last))


def frozen(model: nn.Module, shown: Tensor) -> Call:
    """A trace whose weights are constants; its norms are folded."""
    return torch.jit.freeze(torch.jit.trace(model, shown))


def optimised(model: nn.Module, shown: Tensor) -> Call:
    """A trace whose weights are laid out for this machine besides."""
    return torch.jit.optimize_for_inference(torch.jit.trace(model, shown))


def ways_of(kit: Kit, share: float) -> Mapping[str, Call]:
    """One model in every way to run it."""
    trained, shown = kit.host.unfolded, shown_to(kit.host.size)
    assert trained is not None, "kits of convolutions are folded when they are read"
    whole = replace(kit, host=trained)

    def made(of: Kit = kit) -> nn.Module:
        return made_at(of, of.space.read(TASK), share).requires_grad_(False)

    return {
        "folded": made(),
        "as trained": made(whole),
        "channels last": last(made()),
        "frozen": frozen(made(), shown),
        "optimised": optimised(made(), shown),
    }


def row_of(name: str, kit: Kit, threads: int, rounds: int) -> dict[str, object]:
    """Seconds of the smallest and of the largest in every way, in turn, and the ratios round by round."""
    shown, clock = shown_to(kit.host.size), WallClock(least=0.1, most=0.3)
    ways = {size: ways_of(kit, share) for size, share in (("smallest", kit.lowest), ("largest", kit.highest))}
    took: dict[str, dict[str, list[float]]] = {size: {way: [] for way in calls} for size, calls in ways.items()}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for turn in range(rounds + 1):
            for way in ways["smallest"]:
                for size, calls in ways.items():
                    seconds = clock.median(lambda call=calls[way]: call(shown))
                    if turn:  # the first warms up
                        took[size][way].append(seconds)
    finally:
        torch.set_num_threads(before)
    row: dict[str, object] = {"kit": name, "threads": threads}
    for way in ways["smallest"]:
        row[way] = {
            "smallest over largest": over(took["smallest"][way], took["largest"][way]),
            **{f"{size} over folded": over(took[size][way], took[size]["folded"]) for size in took},
            "milliseconds": {size: 1000 * statistics.median(took[size][way]) for size in took},
        }
    return row


def over(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratios of pairs: the median, the least and the most."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def claims_of(rows: Sequence[dict]) -> list[Claim]:
    """What is held against targets: medians."""
    claims = [
        at_most(f"{row['kit']}, threads {row['threads']}: seconds of the fastest model over the largest one's",
                row["folded"]["smallest over largest"][0], FLOOR)
        for row in rows
    ]  # fmt: skip
    return claims + [
        at_most(f"threads {threads}: seconds of the {size} model over those with its norms as they were, the worst kit",
                max(1 / row["as trained"][f"{size} over folded"][0] for row in rows if row["threads"] == threads),
                FOLDED)
        for threads in sorted({row["threads"] for row in rows}) for size in ("smallest", "largest")
    ]  # fmt: skip


def main(quick: bool = typer.Option(False, help="A rehearsal.")) -> None:
    """Time and claim."""
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" and not quick:
        raise SystemExit("OMP_WAIT_POLICY=PASSIVE: two threads are then slower than one. Unset it, and run this again.")
    torch.set_grad_enabled(False)
    if quick:
        kits = {"tiny": fresh_kit()}
    else:
        folders = {"sprites": kit_folder("sprites"), **{f"seed {seed}": KITS / f"sprites-{seed}" for seed in (1, 2)}}
        kits = {name: factory.load_kit(folder) for name, folder in folders.items()}
    rounds = 1 if quick else ROUNDS
    rows = [row_of(name, kit, threads, rounds) for name, kit in kits.items() for threads in THREADS]
    for row in rows:
        print(row)
    write_result("factory_floor", rows, claims_of(rows), {"quick": quick, "rounds": rounds, "task": TASK})


if __name__ == "__main__":
    typer.run(main)
