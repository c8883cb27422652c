"""Devices, measured with a bar on the screen, or found where they were kept."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from ..factory import Device, Kit, RuntimeClock, WallClock, export_subnets, load_device, meter_device, save_device
from ..factory.runtimes import TORCH
from ..saving import cache_folder


def measured(kit: Kit, subnets: int, threads: int | None = None, runtime: str = TORCH) -> Device:
    """A device, measured now."""
    from rich.console import Console
    from rich.progress import Progress

    wall = WallClock(threads=threads)
    with Progress(console=Console(stderr=True), transient=True) as progress, TemporaryDirectory() as kept:
        task = progress.add_task("measuring this machine", total=2 * subnets)
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


def this_machine(kit: Kit) -> Device:
    """The device of this machine: kept from an earlier order, or measured now and kept."""
    named = json.dumps([kit.host.outline.shape_hash, kit.host.size, dict(WallClock().machine)])
    path = cache_folder() / "devices" / f"{hashlib.sha256(named.encode()).hexdigest()[:16]}.yaml"
    if path.exists():
        return load_device(path)
    typer.echo("measuring this machine once; it takes a minute or two", err=True)
    found = measured(kit, 60)
    save_device(found, path)
    return found
