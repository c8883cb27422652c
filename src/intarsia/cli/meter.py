"""`intarsia meter`: what a kit's models will cost on this machine."""

from pathlib import Path

import typer


def meter(
    kit: Path = typer.Argument(..., help="A kit's folder: a trained supernet and its assembler."),
    device: Path = typer.Option(..., "--device", "-o", help="The device file to write."),
    subnets: int = typer.Option(60, help="Models to measure, spread over all sizes; 50 to 64 are enough."),
    threads: int | None = typer.Option(None, min=1, help="Threads that models will run with; as torch has them."),
) -> None:
    """Measure models of a kit on this machine, so that orders can ask for seconds. Leave the machine alone meanwhile.

    The file keeps the machine, threads, versions and input size, and is refused where they differ. It also says how
    well models were predicted that the fit had not seen.
    """
    from ..saving import refuse_existing

    refuse_existing(device)

    from .. import factory
    from .measuring import measured

    found = measured(factory.load_kit(kit), subnets, threads)
    factory.save_device(found, device)
    for name, score in found.scores.items():
        typer.echo(
            f"{name}: rank correlation {score.spearman:.3f}, 95% within {score.error_95:.1%}, {score.within_10:.0%} "
            f"within 10%, on {found.held_out} models that the fit has not seen"
        )
    typer.echo(f"wrote {device}")
