"""One detector on four devices: are seconds predicted, budgets kept, and do the choices differ?

    python -m benchmarks.factory.devices                        half an hour of quiet processors
    python -m benchmarks.factory.devices --kit src/intarsia/kits/sprites
    python -m benchmarks.factory.devices --quick                a tiny detector on two of them; its figures mean nothing

Without a kit it is the recipe's detector, fresh: seconds do not depend on weights. Every device gets a file of its own,
orders of the same shares of its own dense seconds, and a look at the models afterwards, each beside the dense one. The
first is measured twice, for choices may differ by that alone. Then seconds of a classifier are predicted, larger than
those of recipes; a pack of three scenarios is switched; and models are exported to every runtime and compared with
PyTorch. ExecuTorch sets its threads itself, so nothing is timed on it.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import torch
import typer
from torch import nn

from benchmarks.factory.rows import weights_of
from benchmarks.factory.timing import dense_seconds, fastest_over_dense, made_at, order_seconds, seconds_over
from benchmarks.keeping import kept_row
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import OverBudget, RigError, factory
from intarsia.factory import Kit, Task
from intarsia.factory.clocks import Clock, RuntimeClock, WallClock
from intarsia.factory.runtimes import FORMATS, NEAR_THINGS, TORCH, export
from intarsia.hosts import timm_supernet
from intarsia.rig.machine import processors
from intarsia.train import seed_everything
from recipes.sprites import run as finding

DEVICES = ((TORCH, 1), (TORCH, 2), ("onnx", 1), ("openvino", 1))  # runtimes and threads
FRACTIONS = (0.3, 0.5, 0.7)  # of the dense model's seconds on the same device
NOISE = 1.02  # what may be measured afresh, beside the dense model, of one that was measured at its budget
WAITED = 5.0  # seconds from an order to its measured model
SURE = 2.0  # of a rehearsal, so that a model is found
TASKS = ("red sword", "potion", "blue, green, dragon")
SUBNETS, QUICK = 64, 24  # measured for a device
CLASSIFIER = "resnet18", (3, 64, 64)  # untrained, for seconds do not depend on weights; 148 M MACs
SWITCHED = 10.0  # milliseconds that switching may take
APART = 0.02  # of the dense model's MACs, from which on two choices are said to differ


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    kit: Path | None = typer.Option(None, help="A kit's folder, for the sprites' names; a fresh one if not given."),
    runs: Path = typer.Option(Path("runs/benchmark-devices"), help="Where rows are kept."),
) -> None:
    """Meter, order, measure afresh, switch, claim."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    found = factory.load_kit(kit) if kit is not None else fresh_kit(quick)
    with tempfile.TemporaryDirectory() as scrap:
        place = Path(scrap) if quick else runs / weights_of(found)[:12]
        rows = [
            kept_row(place / f"{name(*on)}.json", lambda on=on: device_row(found, *on, quick=quick))
            for on in (DEVICES[::3] if quick else DEVICES)
            if on[1] <= processors()
        ]
        rows.append(kept_row(place / "again.json", lambda: again_row(found, quick)))
        rows.append(kept_row(place / "classifier.json", lambda: classifier_row(quick)))
        rows.append(kept_row(place / "pack.json", lambda: pack_row(found)))
        rows += [kept_row(place / f"exported-{to}.json", lambda to=to: exported_row(found, to)) for to in FORMATS]
    for line in choices([row for row in rows if row["kind"] == "device"]):
        print(line)
    settings = {"quick": quick, "kit": "trained" if kit else "fresh", "tasks": TASKS, "fractions": FRACTIONS,
                "macs": found.host.outline.macs}  # fmt: skip
    write_result("factory_devices", rows, claims_of(rows), settings)


def name(runtime: str, threads: int) -> str:
    """What a device is called in rows."""
    return f"{runtime} x{threads}"


def fresh_kit(quick: bool) -> Kit:
    """The recipe's detector and an assembler that learned nothing; in a rehearsal a tiny one with the same names."""
    seed_everything(0)
    host = finding.supernet()
    if quick:
        arguments = {"backbone": "test_efficientnet", "num_classes": len(finding.SPACE.names), "width": 16, "depth": 1}
        host = timm_supernet.create("anchor_free_detector", (3, 64, 64), grain=4, **arguments)
    grounds = factory.Grounds.of(host.outline, host.answers)
    assembler = factory.Assembler.of(finding.SPACE, grounds).eval()
    nn.init.normal_(assembler.scores.bias)
    lowest = max(finding.LOWEST, grounds.floor)
    return Kit(host, assembler, finding.SPACE, lowest, (finding.MEAN,) * 3, (finding.STD,) * 3)


def device_row(kit: Kit, runtime: str, threads: int, *, quick: bool) -> dict[str, object]:
    """A device file, orders at shares of the dense seconds, and their models measured afresh."""
    wall = WallClock(threads=threads)
    with tempfile.TemporaryDirectory() as kept:
        clock = wall if runtime == TORCH else RuntimeClock(runtime, wall, Path(kept))
        device = factory.meter_device(kit.host, subnets=QUICK if quick else SUBNETS, clock=clock)
        score = device.scores["seconds"]
        tasks = [kit.space.read(words) for words in (TASKS[:1] if quick else TASKS)]
        fastest = fastest_over_dense(kit, tasks[0], clock)
        orders = [
            order_row(kit, task, fraction, device, clock)
            for task in tasks
            for fraction in ((SURE,) if quick else FRACTIONS)
        ]
    return {
        "kind": "device", "device": name(runtime, threads), "spearman": score.spearman, "error_95": score.error_95,
        "within_10": score.within_10, "held out": device.held_out, "fastest over dense": fastest, "orders": orders,
    }  # fmt: skip


def again_row(kit: Kit, quick: bool) -> dict[str, object]:
    """The first device once more: by how much choices differ where the device is the same."""
    return device_row(kit, *DEVICES[0], quick=quick) | {"kind": "again", "device": "again"}


def order_row(kit: Kit, task: Task, fraction: float, device: factory.Device, clock: Clock) -> dict[str, object]:
    """One order of a share of the dense model's seconds."""
    largest = made_at(kit, task, kit.highest)
    dense = dense_seconds(largest, kit.host.size, clock)
    row = {"task": ", ".join(kit.space.spoken(task)), "fraction": fraction, "dense seconds": dense}
    try:
        done = factory.fulfil(factory.Order(task, factory.Budget(seconds=fraction * dense), device), kit, clock=clock)
    except OverBudget as refusal:
        return row | {"refused": refusal.cheapest["seconds"]}
    again = seconds_over(done.model, largest, kit.host.size, clock)
    return row | {
        "share of MACs": done.costs["macs"] / kit.host.outline.macs, "promised over budget": done.costs["seconds"] /
        (fraction * dense), "afresh over budget": again / fraction, "measured": done.measured, **done.took,
    }  # fmt: skip


def classifier_row(quick: bool) -> dict[str, object]:
    """How well seconds of a classifier's models are predicted, on PyTorch and one thread."""
    seed_everything(0)
    architecture, size = ("test_resnet", (3, 32, 32)) if quick else CLASSIFIER
    host = timm_supernet.create(architecture, size, num_classes=10)
    device = factory.meter_device(host, subnets=QUICK if quick else SUBNETS, clock=WallClock(threads=1))
    score = device.scores["seconds"]
    return {
        "kind": "classifier", "macs": host.outline.macs, "spearman": score.spearman, "error_95": score.error_95,
        "within_10": score.within_10, "held out": device.held_out,
    }  # fmt: skip


def exported_row(kit: Kit, runtime: str) -> dict[str, object]:
    """By how much models on another runtime answer otherwise than PyTorch: the smallest and the largest of a task."""
    task, apart = kit.space.read(TASKS[0]), []
    try:
        for share in (kit.lowest, kit.highest):
            with tempfile.TemporaryDirectory() as folder:
                model = made_at(kit, task, share)
                apart.append(export(model, kit.host.size, runtime, Path(folder), things=kit.space.things))
    except RigError as refusal:
        return {"kind": "exported", "to": runtime, "refused": str(refusal)}
    return {"kind": "exported", "to": runtime, "apart": max(apart)}


def pack_row(kit: Kit) -> dict[str, object]:
    """Milliseconds to switch a pack's scenario, without a copy and with one, and what a scenario takes on disk."""
    words, macs = dict(zip("abc", TASKS, strict=True)), 0.5 * (kit.lowest + kit.highest) * kit.host.outline.macs
    with tempfile.TemporaryDirectory() as scrap:
        folders = {}
        for scenario, said in words.items():
            order = factory.Order(kit.space.read(said), factory.Budget(macs=macs))
            folders[scenario] = factory.ship(order, factory.fulfil(order, kit), kit, Path(scrap) / scenario)
        weights = statistics.mean((folder / "model.safetensors").stat().st_size for folder in folders.values())
        factory.save_pack(factory.packed(kit, folders), Path(scrap) / "pack.safetensors")
        pack = factory.load_pack(Path(scrap) / "pack.safetensors")

    def switch() -> None:
        for scenario in words:
            with pack.active(scenario):
                pass

    def each(call: Callable[[], object]) -> float:
        return 1000 * WallClock().median(call) / len(words)

    return {
        "kind": "pack", "switch milliseconds": each(switch), "copy milliseconds": each(lambda: [*map(pack.cut, words)]),
        "bytes of a scenario": statistics.mean(map(pack.bytes_of, words)), "bytes of its weights alone": weights,
    }  # fmt: skip


def chosen(rows: Sequence[dict]) -> dict[tuple[str, float], dict[str, float]]:
    """By task and fraction, the share of MACs that each device chose; where all of them have a model."""
    found: dict[tuple[str, float], dict[str, float]] = {}
    for row in rows:
        for order in row["orders"]:
            if "share of MACs" in order:
                found.setdefault((order["task"], order["fraction"]), {})[row["device"]] = order["share of MACs"]
    return {asked: shares for asked, shares in found.items() if len(shares) == len(rows)}


def apart_by(rows: Sequence[dict]) -> list[float]:
    """The shares of the MACs by which any two of these devices' choices for one order differ."""
    shares = chosen(rows).values()
    return [abs(one - other) for each in shares for one, other in combinations(each.values(), 2)]


def choices(rows: Sequence[dict]) -> list[str]:
    """The table of choices: at the same share of their own dense seconds, devices afford other shares of the MACs."""
    lines = [f"{'share of the MACs at':<36}" + "".join(f"{row['device']:>14}" for row in rows)]
    for (task, fraction), shares in chosen(rows).items():
        lines.append(
            f"{task}, {fraction:.0%} of seconds".ljust(36) + "".join(f"{one:14.1%}" for one in shares.values())
        )
    return lines


def claims_of(rows: Sequence[dict]) -> list[Claim]:
    """What is held against targets: all of them for each device."""
    kinds = ("device", "again", "classifier", "pack", "exported")
    devices, again, classifiers, (pack,), exported = ([row for row in rows if row["kind"] == kind] for kind in kinds)
    claims = []
    for row in [*devices, *classifiers]:
        where = row.get("device", "a classifier")
        claims += [
            at_least(f"{where}: rank correlation of predicted and measured seconds", row["spearman"], 0.95),
            at_least(f"{where}: share of held-out models predicted within 10 %", row["within_10"], 0.95),
        ]
    for row in devices:
        orders, where = [one for one in row["orders"] if "refused" not in one], row["device"]
        claims += [
            at_most(f"{where}: seconds of the fastest model over the dense one's", row["fastest over dense"], 0.25),
            at_most(f"{where}: seconds afresh over budget, worst", most(orders, "afresh over budget"), NOISE),
            at_most(f"{where}: seconds from an order to its measured model, worst",
                    max(map(order_seconds, orders), default=float("inf")), WAITED),
        ]  # fmt: skip
    apart, alike = max(apart_by(devices), default=0.0), max(apart_by([devices[0], *again]), default=float("inf"))
    return [
        *claims,
        at_least("share of the MACs by which two devices' choices for one order differ, most", apart, APART),
        at_least("the same, less that of one device that was measured twice", apart - alike, 0.0),
        at_most("milliseconds to switch the scenario of a pack", pack["switch milliseconds"], SWITCHED),
        *(at_most(f"{row['to']}: what boxes, in pixels, or scores differ by from PyTorch's",
                  row.get("apart", float("inf")), NEAR_THINGS) for row in exported),
    ]  # fmt: skip


def most(orders: Sequence[dict], column: str) -> float:
    """The largest value of a column; infinite if no order was fulfilled, so that nothing is claimed of nothing."""
    return max((order[column] for order in orders), default=float("inf"))


if __name__ == "__main__":
    typer.run(main)
