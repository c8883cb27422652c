"""`intarsia pack`: one supernet for many scenarios, in one file."""

from pathlib import Path

import typer


def pack(
    kit: str = typer.Argument(..., help="A kit's folder, or the name of one that ships."),
    models: list[Path] = typer.Argument(
        ..., help="Folders that 'intarsia fulfil' wrote from it; scenarios are called as they are."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The file to write; must not exist."),
) -> None:
    """Keep models of one kit as one supernet and the units that each keeps, to switch between them at run time.

    In Python: factory.load_pack(FILE).cut(NAME) is a model of its own; under .active(NAME) the supernet answers as it.
    """
    from ..plan.bill import count
    from ..saving import refuse_existing

    refuse_existing(out)
    folders = {folder.resolve().name: folder for folder in models}
    if len(folders) < len(models):
        raise typer.BadParameter("two folders of one name: scenarios are called as their folders are.")

    from .. import factory
    from ..factory.shipping import WEIGHTS
    from ..shipped import kit_folder

    made = factory.packed(factory.load_kit(kit_folder(kit)), folders)
    factory.save_pack(made, out)
    for name, folder in folders.items():
        alone = (folder / WEIGHTS).stat().st_size
        typer.echo(f"{name}: {count(made.bytes_of(name))}B, where its own weights are {count(alone)}B")
    typer.echo(f"wrote {out}: {count(out.stat().st_size)}B in all")
