"""`intarsia fulfil`: a task and a budget in, a small model out."""

import json
import re
from enum import StrEnum
from pathlib import Path

import typer

AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([kMG]?)\s*", re.IGNORECASE)
TIMES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}


class Format(StrEnum):
    onnx = "onnx"
    openvino = "openvino"
    executorch = "executorch"


def amount(text: str) -> float:
    """A number such as 250k or 3.5M."""
    match = AMOUNT.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r}: write a number, such as 250k, 3.5M or 1e9.")
    return float(match[1]) * TIMES[match[2].lower()]


def fulfil(
    kit: str | None = typer.Argument(
        None,
        help="A kit's folder, or the name of one that ships ('intarsia list kits'); else 'fashion' for --task, "
        "'sprites' for --detect.",
    ),
    task: str | None = typer.Option(
        None, help="What to tell apart: 'shoe, bag, coat', 'all', or 'all but shirt, coat'."
    ),
    detect: str | None = typer.Option(None, help="What to find, of a kit for things: 'red sword', or 'potion'."),
    milliseconds: float | None = typer.Option(None, min=1e-6, help="Of one call on the device, at most."),
    macs: float | None = typer.Option(None, parser=amount, help="Multiply-accumulates of one call, at most: 3M."),
    params: float | None = typer.Option(None, parser=amount, help="Parameters, at most: 250k."),
    size: float | None = typer.Option(None, "--bytes", parser=amount, help="Bytes of weights, at most: 1M."),
    memory: float | None = typer.Option(None, parser=amount, help="Bytes that PyTorch holds at once, at most: 2M."),
    device: Path | None = typer.Option(
        None, help="A file that 'intarsia meter' wrote. Without one, this machine is measured once and remembered."
    ),
    to: list[Format] = typer.Option(
        [], help="Write it for this runtime too, compared with PyTorch: onnx, openvino, executorch."
    ),
    int8: Path | None = typer.Option(
        None,
        help="Write it in 8 bits too (ONNX Runtime), ranges and accuracy from this folder of labelled pictures: a "
        "subfolder for each answer; of things, annotations (COCO) or the folder that they and the pictures are in.",
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write; must not exist."),
) -> None:
    """Make the largest model for a task that stays within a budget, without training.

    At least one bound is needed, and several can be given together; what is measured is measured on the model itself.
    If nothing fits, the exit code is 3 and the answer says what the cheapest model costs.
    """
    from ..saving import refuse_existing

    refuse_existing(out)
    if (words := task or detect) is None or (task and detect):
        raise typer.BadParameter("say what the model is for: --task what to tell apart, or --detect what to find.")

    from .. import factory
    from ..errors import FitError
    from ..factory.int8 import halves
    from ..factory.labelled import read_exam
    from ..factory.runtimes import backend_of
    from ..plan.bill import count
    from ..shipped import kit_folder
    from .reading import parts_known
    from .spoken import told_by_options

    if all(bound is None for bound in (milliseconds, macs, params, size, memory)):
        raise FitError("say what it may cost: --milliseconds, --memory, --macs, --params or --bytes.")
    for one in to:
        backend_of(one.value)  # told now if it is not installed
    seconds = None if milliseconds is None else milliseconds / 1000
    budget = factory.Budget(seconds=seconds, memory=memory, macs=macs, params=params, bytes=size)
    named = kit or ("sprites" if detect else "fashion")
    found = factory.load_kit(kit_folder(named))
    if found.space.things != (detect is not None):
        other = "finds things: say --detect" if found.space.things else "tells names apart: say --task"
        known = parts_known(found.space.names, found.space.words)
        raise FitError(f"{named}: this kit {other}. It knows: {known}.")
    asked = found.space.read(words)
    judged = None if int8 is None else read_exam(int8, found, asked)
    if judged is not None:
        halves(len(judged.pictures), judged.holds)  # refused before anything is measured or made
    if device is not None:
        on = factory.load_device(device)
    elif budget.on_device:
        from .measuring import this_machine

        on = this_machine(found)
    else:
        on = None
    order = factory.Order(asked, budget, on)
    with told_by_options(budget):
        done = factory.fulfil(order, found)
    factory.ship(order, done, found, out, [one.value for one in to], int8=judged)
    does = "finds" if found.space.things else "asked" if found.space.shared else "tells apart"
    typer.echo(f"{does}: {', '.join(found.space.spoken(asked))}")
    costs = done.costs
    said = [f"{count(costs['macs'])}MACs", f"{count(costs['params'])}parameters", f"{count(costs['bytes'])}B"]
    if "seconds" in costs:
        how = "measured"
        if on is not None and on.remote:
            how = f"predicted; there: python time_models.py model.onnx --threads {on.machine['threads']}"
        said += [f"{costs['seconds'] * 1000:.3g} ms {how}", f"{count(costs['memory'])}B of memory"]
    typer.echo(", ".join(said))
    if judged is not None:
        measure = "average precision" if found.space.things else "right"
        eight = json.loads((out / "report.json").read_text())["int8"]
        typer.echo(
            f"in 8 bits: {eight['accuracy']:.1%} {measure} where 32 bits have {eight['accuracy_before']:.1%}, "
            f"{eight['seconds'] * 1000:.3g} ms where they take {eight['seconds_before'] * 1000:.3g} ms, "
            f"on {eight['pictures']} pictures"
        )
    typer.echo(f"wrote {out}")
