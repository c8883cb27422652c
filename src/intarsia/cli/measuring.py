"""Devices, measured with a bar on the screen, or found where they were kept."""

import hashlib
import json

import typer

from ..factory import Device, Kit, WallClock, load_device, meter_device, save_device
from ..saving import cache_folder


def measured(kit: Kit, subnets: int, threads: int | None = None) -> Device:
    """A device, measured now."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    if threads is not None:
        torch.set_num_threads(threads)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring this machine", total=2 * subnets)
        return meter_device(kit.host, subnets=subnets, tell=lambda done: progress.update(task, completed=done))


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
