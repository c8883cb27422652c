"""`intarsia`: the verbs, and what happens when one of them refuses."""

import sys

import typer
from rich.console import Console

from .. import __version__
from ..errors import IntarsiaError, OverBudget
from . import (
    assemble,
    check,
    detect,
    distill,
    export,
    frontier,
    fulfil,
    listing,
    meter,
    outline,
    pack,
    planning,
    planning_models,
    price,
    run,
    show,
    train_module,
)

EPILOG = (
    "A first walk:  intarsia run 'a red apple in 3d style'  |  intarsia show emoji-fast --outline emoji  |  "
    "intarsia plan inherit --rows 20 --every 3 --sites up_blocks.1 -o mine.yaml  |  "
    "intarsia run 'a fox in noto style' --plan mine.yaml -o out/fox"
)

app = typer.Typer(
    name="intarsia",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    epilog=EPILOG,
    help="Make the model you need out of the parts of models that exist.\n\n"
    "A [bold]plan[/bold] is a table: rows are calls of a model, columns are named sites in it, cells say what "
    "happens there. Planners write plans; [bold]show[/bold] draws them, [bold]price[/bold] says what they "
    "cost, [bold]run[/bold] makes pictures under them.",
)
app.command("run")(run.run)
planning_models.add_to(planning.app)
app.add_typer(planning.app, name="plan")
app.command("show")(show.show)
app.command("price")(price.price)
app.command("check")(check.check)
app.command("outline")(outline.outline)
app.command("assemble")(assemble.assemble)
app.command("distill")(distill.distill)
app.command("train-module")(train_module.train_module)
app.command("export")(export.export)
app.command("meter")(meter.meter)
app.command("fulfil")(fulfil.fulfil)
app.command("pack")(pack.pack)
app.command("detect")(detect.detect)
app.command("frontier")(frontier.frontier)
app.command("list")(listing.listing)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Say the version and stop.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; refusals are told on stderr, one line a problem, with exit code 1, or 3 if over budget."""
    try:
        app()
    except IntarsiaError as error:
        problems = getattr(error, "problems", None) or [str(error)]
        for problem in problems:
            Console(stderr=True, soft_wrap=True).print(problem, style="red", markup=False, highlight=False)
        sys.exit(3 if isinstance(error, OverBudget) else 1)
    except OSError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"{error.filename}: {error.strerror}" if error.strerror else str(error), style="red", markup=False
        )
        sys.exit(1)
