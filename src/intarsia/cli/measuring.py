"""Devices, measured with a bar on the screen, or found where they were kept."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from ..errors import CardError
from ..factory import Device, Kit, RuntimeClock, WallClock, export_subnets, load_device, meter_device
from ..factory.device import text_of
from ..factory.metering import ROUNDS
from ..factory.runtimes import TORCH
from ..saving import cache_folder, replace_text


def measured(kit: Kit, subnets: int, threads: int | None = None, runtime: str = TORCH) -> Device:
    """A device, measured now."""
    from rich.console import Console
    from rich.progress import Progress

    wall = WallClock(threads=threads)
    with Progress(console=Console(stderr=True), transient=True) as progress, TemporaryDirectory() as kept:
        task = progress.add_task("measuring this machine", total=ROUNDS * subnets)
        clock = wall if runtime == TORCH else RuntimeClock(runtime, wall, Path(kept))
        return meter_device(
            kit.host, subnets=subnets, clock=clock, tell=lambda done: progress.update(task, completed=done)
        )


def exported(kit: Kit, subnets: int, out: Path) -> None:
    """Subnets for another machine, written now."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("writing models", total=subnets)
        export_subnets(kit.host, out, subnets=subnets, tell=lambda done: progress.update(task, completed=done))


def tell_scores(device: Device, err: bool = False) -> None:
    """How well a device's predictions did."""
    for name, score in device.scores.items():
        typer.echo(
            f"{name}: rank correlation {score.spearman:.3f}, 95% within {score.error_95:.1%}, {score.within_10:.0%} "
            f"within 10%, on {device.held_out} models that the fit has not seen",
            err=err,
        )
    if device.took is not None:
        typer.echo(f"measured {device.subnets} models in {device.took:.0f} s", err=err)


def tell_doubts(device: Device, remedy: str = "") -> None:
    """Warn of a device whose predictions are of little use."""
    for doubt in device.doubts:
        typer.echo(f"warning: {doubt}{remedy}", err=True)


def tell_whole(kit: Kit) -> None:
    """What every model of a kit has: how much, and what stays whole for which reason."""
    paths: dict[str, list[str]] = {}
    for path, reason in kit.host.whole.items():
        paths.setdefault(reason, []).append(path)
    typer.echo(f"every model has {kit.grounds.floor:.0%} of the MACs or more")
    for reason, some in paths.items():
        more = f" and {len(some) - 1} more" if some[1:] else ""
        typer.echo(f"stays whole: {some[0]}{more}: {reason}")


def this_machine(kit: Kit) -> Device:
    """The device of this machine: kept from an earlier order, or measured now and kept."""
    named = json.dumps([kit.host.outline.shape_hash, kit.host.size, dict(WallClock().machine)])
    path = cache_folder() / "devices" / f"{hashlib.sha256(named.encode()).hexdigest()[:16]}.yaml"
    found = None
    with suppress(CardError, FileNotFoundError):  # what cannot be read is measured anew
        found = load_device(path)
    if found is None:
        typer.echo("measuring this machine once; it takes a minute or two", err=True)
        found = measured(kit, 60)
        tell_scores(found, err=True)
        replace_text(path, text_of(found))  # which another order may have done meanwhile
    tell_doubts(found, f" Remove {path} first, where it is kept.")
    return found
