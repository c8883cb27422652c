"""One detector on four devices: are seconds predicted, budgets kept, and do the choices differ?

    python -m benchmarks.factory.devices                        twenty minutes of quiet processors
    python -m benchmarks.factory.devices --kit FOLDER           of another kit for the sprites' names
    python -m benchmarks.factory.devices --quick                a tiny detector on PyTorch; its figures mean nothing

The kit is the one that ships. Every device gets a file of its own, in results/factory_devices; orders of the same
shares of its own dense seconds; and a look at the models afterwards, each beside the dense one. The first is measured
twice, for choices may differ by that alone. Then seconds of a classifier are predicted, larger than those of recipes; a
pack of three scenarios is switched; models are exported to every runtime and compared with PyTorch, and a model that is
traced for a runtime stands beside the same as an exported program: seconds of making it, and of calling it. ExecuTorch
sets its threads itself, so nothing is timed on it. Where threads wait passively (OMP_WAIT_POLICY), two are slower than
one: that is refused.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import typer
from torch import nn

from benchmarks.factory.rows import here, weights_of
from benchmarks.factory.timing import (
    dense_seconds,
    fastest_over_dense,
    made_at,
    order_seconds,
    seconds_over,
    shown_to,
    while_still,
)
from benchmarks.keeping import kept_row, place_of
from benchmarks.results import RESULTS, Claim, at_least, at_most, versions, write_result
from intarsia import OverBudget, RigError, factory
from intarsia.factory import Kit, Task
from intarsia.factory.clocks import Clock, RuntimeClock, WallClock
from intarsia.factory.device import text_of
from intarsia.factory.runtimes import FORMATS, NEAR_THINGS, TORCH, TRACED, backend_of, convert_exported, export, file_of
from intarsia.hosts import timm_supernet
from intarsia.rig.machine import processors
from intarsia.saving import replace_text
from intarsia.shipped import kit_folder
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
CONVERTED = 3  # times that a model is made in either way
TRACING = 0.25  # of the seconds of exporting
SWITCHED = 10.0  # milliseconds that switching may take
APART = 0.02  # of the dense model's MACs, from which on two choices are said to differ
ALIKE = 0.001  # of them, below which it is not told how much alike two choices are
BEYOND = 3.0  # times as far as the choices of one device that was measured twice
MET = 0.6  # share of a device's orders


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    kit: str = typer.Option("sprites", help="A kit that ships or a kit's folder, for the sprites' names."),
    runs: Path = typer.Option(Path("runs/benchmark-devices"), help="Where rows are kept."),
    kept: Path = typer.Option(RESULTS / "factory_devices", help="Where device files are kept."),
) -> None:
    """Meter, order, measure afresh, switch, claim."""
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" and not quick:
        raise SystemExit("OMP_WAIT_POLICY=PASSIVE: two threads are then slower than one. Unset it, and run this again.")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    found = fresh_kit() if quick else factory.load_kit(kit_folder(kit))
    settings = {"quick": quick, "tasks": TASKS, "fractions": FRACTIONS, "subnets": QUICK if quick else SUBNETS,
                "macs": found.host.outline.macs}  # fmt: skip
    with tempfile.TemporaryDirectory() as scrap:
        kept = Path(scrap) if quick else kept
        place = Path(scrap) if quick else place_of(runs, [weights_of(found), settings, versions()], "")
        rows = [
            kept_row(place / f"{name(*on)}.json", here(lambda on=on: device_row(found, *on, kept, quick=quick)))
            for on in (DEVICES[:2] if quick else DEVICES)
            if on[1] <= processors()
        ]
        rows.append(kept_row(place / "again.json", here(lambda: again_row(found, Path(scrap), quick))))
        rows.append(kept_row(place / "classifier.json", here(lambda: classifier_row(quick))))
        rows.append(kept_row(place / "pack.json", here(lambda: pack_row(found))))
        rows += [exported_row(found, to) for to in FORMATS]
        rows += [kept_row(place / f"traced {to}.json", here(lambda to=to: traced_row(found, to))) for to in TRACED]
    table = choices([row for row in rows if row["kind"] == "device"])
    print(*table, sep="\n")
    write_result("factory_devices", [*rows, {"kind": "choices", "table": table}], claims_of(rows), settings)


def name(runtime: str, threads: int) -> str:
    """What a device is called in rows."""
    return f"{runtime} x{threads}"


def fresh_kit() -> Kit:
    """For a rehearsal: a tiny detector with the same names, and an assembler; both learned nothing."""
    seed_everything(0)
    arguments = {"backbone": "test_efficientnet", "num_classes": len(finding.SPACE.names), "width": 16, "depth": 1}
    host = timm_supernet.create("anchor_free_detector", (3, 64, 64), grain=4, **arguments)
    for layer in (host.module.reach, host.module.names):
        nn.init.normal_(layer.weight, std=0.3)  # or boxes would be the same whatever is shown
    grounds = factory.Grounds.of(host.outline, host.answers)
    assembler = factory.Assembler.of(finding.SPACE, grounds).eval()
    nn.init.normal_(assembler.scores.bias)
    lowest = max(finding.LOWEST, grounds.floor)
    return factory.folded(Kit(host, assembler, finding.SPACE, lowest, (finding.MEAN,) * 3, (finding.STD,) * 3))


def device_row(kit: Kit, runtime: str, threads: int, kept: Path, *, quick: bool) -> dict[str, object]:
    """A device file in `kept`, orders at shares of the dense seconds, and their models measured afresh."""
    wall = WallClock(threads=threads)
    with tempfile.TemporaryDirectory() as files:
        clock = wall if runtime == TORCH else RuntimeClock(runtime, wall, Path(files))
        device = factory.meter_device(kit.host, subnets=QUICK if quick else SUBNETS, clock=clock)
        replace_text(kept / f"{runtime}-{threads}.yaml", text_of(device))  # over that of an earlier run
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


def again_row(kit: Kit, scrap: Path, quick: bool) -> dict[str, object]:
    """The first device once more: by how much choices differ where the device is the same."""
    return device_row(kit, *DEVICES[0], scrap, quick=quick) | {"kind": "again", "device": "again"}


def order_row(kit: Kit, task: Task, fraction: float, device: factory.Device, clock: Clock) -> dict[str, object]:
    """One order of a share of the dense model's seconds."""
    largest = made_at(kit, task, kit.highest)

    def row(dense: float) -> dict[str, object]:
        budget = fraction * dense
        told = {"task": ", ".join(kit.space.spoken(task)), "fraction": fraction, "dense seconds": dense}
        try:
            done = factory.fulfil(factory.Order(task, factory.Budget(seconds=budget), device), kit, clock=clock)
        except OverBudget as refusal:
            return told | {"refused": refusal.cheapest["seconds"]}
        again = seconds_over(done.model, largest, kit.host.size, clock)
        return told | {
            "share of MACs": done.costs["macs"] / kit.host.outline.macs, "measured": done.measured,
            "promised over budget": done.costs["seconds"] / budget, "afresh over budget": again / fraction, **done.took,
        }  # fmt: skip

    return while_still(lambda: dense_seconds(largest, kit.host.size, clock), row)


def classifier_row(quick: bool) -> dict[str, object]:
    """How well seconds of a classifier's models are predicted, on PyTorch and one thread."""
    seed_everything(0)
    architecture, size = ("test_resnet", (3, 32, 32)) if quick else CLASSIFIER
    host = timm_supernet.folded(timm_supernet.create(architecture, size, num_classes=10))
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


def traced_row(kit: Kit, runtime: str) -> dict[str, object]:
    """One model traced, and as an exported program: seconds of making either and of calling either, in turn."""
    model = made_at(kit, kit.space.read(TASKS[0]), 0.5 * (kit.lowest + kit.highest))
    shown, pairs = shown_to(kit.host.size), []
    for _ in range(CONVERTED):
        with tempfile.TemporaryDirectory() as folder:
            took, calls = [], []
            for way in (TRACED[runtime], partial(convert_exported, name=runtime)):
                path = Path(folder) / str(len(took)) / file_of(runtime)
                path.parent.mkdir()
                began = time.perf_counter()
                way(model, shown, path=path)
                took.append(time.perf_counter() - began)
                run = backend_of(runtime).ready(path, torch.float32)
                calls.append(WallClock(least=0.1, threads=1).median(lambda run=run: run([shown])))
        pairs.append((took[0] / took[1], calls[0] / calls[1]))
    making, calling = zip(*pairs, strict=True)
    return {"kind": "traced", "to": runtime, "making over exported": making, "calling over exported": calling}


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


def chosen(rows: Sequence[dict]) -> dict[tuple[str, float], dict[str, float | None]]:
    """By task and fraction, the share of MACs that each device chose; None where it has no model."""
    found: dict[tuple[str, float], dict[str, float | None]] = {}
    for row in rows:
        for order in row["orders"]:
            found.setdefault((order["task"], order["fraction"]), {})[row["device"]] = order.get("share of MACs")
    return found


def apart(one: dict, other: dict) -> float:
    """The share of the MACs by which two devices' choices for one order differ, the median; nan if they share none."""
    both = [list(each.values()) for each in chosen([one, other]).values()]
    return statistics.median([abs(first - second) for first, second in both if None not in (first, second)] or [np.nan])


def choices(rows: Sequence[dict]) -> list[str]:
    """The table of choices: at the same share of their own dense seconds, devices afford other shares of the MACs."""
    lines = [f"{'share of the MACs at':<36}" + "".join(f"{row['device']:>14}" for row in rows)]
    for (task, fraction), shares in chosen(rows).items():
        cells = (f"{share:14.1%}" if share is not None else f"{'none':>14}" for share in shares.values())
        lines.append(f"{task}, {fraction:.0%} of seconds".ljust(36) + "".join(cells))
    return lines


def claims_of(rows: Sequence[dict]) -> list[Claim]:
    """What is held against targets: all of them for each device."""
    kinds = ("device", "again", "classifier", "pack", "exported", "traced")
    devices, again, classifiers, (pack,), exported, traced = (
        [row for row in rows if row["kind"] == kind] for kind in kinds
    )
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
            at_least(f"{where}: share of its orders that were met", len(orders) / len(row["orders"]), MET),
            at_most(f"{where}: seconds of the fastest model over the dense one's", row["fastest over dense"], 0.25),
            at_most(f"{where}: seconds afresh over budget, worst", most(orders, "afresh over budget"), NOISE),
            at_most(f"{where}: seconds from an order to its measured model, worst",
                    max(map(order_seconds, orders), default=float("inf")), WAITED),
        ]  # fmt: skip
    differ = max((np.nan_to_num(apart(*two)).item() for two in combinations(devices, 2)), default=0.0)
    alike = float(np.maximum(apart(devices[0], *again), ALIKE))
    return [
        *claims,
        at_least("share of the MACs by which the choices of two devices differ, median, the most different two", differ,
                 APART),
        at_least("the same over that of one device that was measured twice", differ / alike, BEYOND),
        at_most("milliseconds to switch the scenario of a pack", pack["switch milliseconds"], SWITCHED),
        *(at_most(f"{row['to']}: what boxes, in pixels, or scores differ by from PyTorch's",
                  row.get("apart", float("inf")), NEAR_THINGS) for row in exported),
        *(at_most(f"{row['to']}: seconds of tracing a model over those of exporting it, median",
                  statistics.median(row["making over exported"]), TRACING) for row in traced),
        *(at_most(f"{row['to']}: seconds of a call of a traced model over an exported one's, median",
                  statistics.median(row["calling over exported"]), NOISE) for row in traced),
    ]  # fmt: skip


def most(orders: Sequence[dict], column: str) -> float:
    """The largest value of a column; infinite if no order was fulfilled, so that nothing is claimed of nothing."""
    return max((order[column] for order in orders), default=float("inf"))


if __name__ == "__main__":
    typer.run(main)
