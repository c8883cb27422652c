"""`intarsia`: the verbs, and what happens when one of them refuses."""

import sys
from collections.abc import Callable

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
planning_models.add_to(planning.app)
EXTRAS = {  # of which extra of ours a package is
    "timm": "factory", "torchvision": "factory", "torchmetrics": "factory", "faster_coco_eval": "factory",
    "onnx": "export", "onnxruntime": "export", "onnxscript": "export", "openvino": "export", "executorch": "phones",
}  # fmt: skip
PLANS, LESS, SENSES, TASKS = "Plans and models", "A smaller model", "New senses", "A small model for each task"
VERBS: list[tuple[str | None, str, Callable[..., None]]] = [
    (None, "run", run.run),
    (None, "list", listing.listing),
    (PLANS, "show", show.show),
    (PLANS, "price", price.price),
    (PLANS, "check", check.check),
    (PLANS, "outline", outline.outline),
    (PLANS, "export", export.export),
    (LESS, "assemble", assemble.assemble),
    (LESS, "distill", distill.distill),
    (SENSES, "train-module", train_module.train_module),
    (TASKS, "meter", meter.meter),
    (TASKS, "fulfil", fulfil.fulfil),
    (TASKS, "pack", pack.pack),
    (TASKS, "detect", detect.detect),
    (TASKS, "frontier", frontier.frontier),
]
for panel, verb, act in VERBS:
    app.command(verb, rich_help_panel=panel)(act)
app.add_typer(planning.app, name="plan", rich_help_panel=PLANS)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Say the version and stop.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; refusals are told on stderr, one line a problem, with exit code 1, or 3 if over budget.

    A package of an extra that is not installed is a refusal too; any other module that is not found is our mistake.
    """
    try:
        app()
    except IntarsiaError as error:
        problems = getattr(error, "problems", None) or [str(error)]
        for problem in problems:
            Console(stderr=True, soft_wrap=True).print(problem, style="red", markup=False, highlight=False)
        sys.exit(3 if isinstance(error, OverBudget) else 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if (extra := EXTRAS.get(package)) is None:
            raise
        Console(stderr=True, soft_wrap=True).print(
            f"{package} is not installed, and this needs it: pip install 'intarsia[{extra}]'", style="red", markup=False
        )
        sys.exit(1)
    except OSError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"{error.filename}: {error.strerror}" if error.strerror else str(error), style="red", markup=False
        )
        sys.exit(1)
