"""`intarsia meter`: what a kit's models will cost on a machine, this one or another."""

from enum import StrEnum
from pathlib import Path

import typer

SUBNETS = 60  # models to measure or export, if no number is given


class Runtime(StrEnum):
    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"


def meter(
    kit: str = typer.Argument(..., help="A kit's folder, or the name of one that ships."),
    device: Path | None = typer.Option(None, "--device", "-o", help="The device file to write."),
    subnets: int | None = typer.Option(
        None, help="Models to measure or export, spread over all sizes; 60 if not given, 50 to 64 are enough."
    ),
    threads: int | None = typer.Option(None, min=1, help="Threads that models will run with; as torch has them."),
    runtime: Runtime | None = typer.Option(None, help="What models will run on: torch (if not given), onnx, openvino."),
    export: Path | None = typer.Option(
        None,
        help="For another machine: a folder to write, with models and a script that times them there by ONNX Runtime.",
    ),
    times: Path | None = typer.Option(None, help="The times.json that came back from there."),
) -> None:
    """Measure models of a kit on this machine, so that orders can ask for seconds. Leave the machine alone meanwhile.

    The file keeps the machine, runtime, threads, versions and input size, and is refused where they differ. It also
    says how well models were predicted that the fit had not seen. A machine that has no PyTorch takes the folder that
    --export writes, runs its time_models.py, and gives back times.json for --times.
    """
    from ..saving import refuse_existing

    if (device is None) == (export is None) or (export and times):
        raise typer.BadParameter("name one thing to write: --device FILE, also with --times, or --export FOLDER.")
    if (export or times) and (threads or runtime):
        raise typer.BadParameter("--threads and --runtime are of this machine; there, say time_models.py --threads N.")
    if times and subnets is not None:
        raise typer.BadParameter("--subnets goes with --export: the models of --times are timed already.")
    for out in (device, export):
        if out is not None:
            refuse_existing(out)

    from .. import factory
    from ..rig.machine import processors
    from ..shipped import kit_folder
    from .measuring import exported, measured, tell_doubts, tell_scores, tell_whole

    if threads is not None and threads > processors():
        raise typer.BadParameter(f"--threads {threads}: this machine has {processors()} processors.")
    found = factory.load_kit(kit_folder(kit))
    count = SUBNETS if subnets is None else subnets
    if export is not None:
        exported(found, count, export)
        typer.echo(f"wrote {export}; there: python {export.name}/time_models.py --threads N")
        return
    assert device is not None
    if times is None:
        made = measured(found, count, threads, runtime or Runtime.torch)
    else:
        made = factory.read_times(times, found.host)
    factory.save_device(made, device)
    tell_whole(found)
    tell_scores(made)
    tell_doubts(made)
    typer.echo(f"wrote {device}")
