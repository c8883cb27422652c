"""A fulfilled order on disk: weights, a recipe that builds the model without the supernet, and other runtimes' files.

model.safetensors   weights; the same order gives the same bytes
recipe.json         what timm builds, which units of it, what the answers are called; the same order, the same bytes
plan.yaml           the units as a plan of the supernet
report.json         what it costs, and what measured it
model.onnx, .xml, .pte    for ONNX Runtime, OpenVINO and ExecuTorch, each compared with PyTorch before it is kept
model.int8.onnx     in 8 bits; the report tells its accuracy and seconds
time_models.py      for a remote device: there, `python time_models.py model.onnx --threads N`, with the threads of the
                    device, measures what is only predicted here
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ..errors import CardError
from ..hosts import timm_supernet
from ..hosts.timm_supernet import TimmSupernet
from ..plan import Keep, Skip
from ..plan.text import write_plan
from ..plan.units import read_units, write_units
from ..rig.machine import machine
from ..saving import new_folder
from ..tensors import load_into
from .exams import Answered
from .fulfil import Fulfilled, Order
from .int8 import halves, int8_of
from .kit import Kit, misbuilt, refuse_unlike
from .remote import copy_script
from .runtimes import backend_of, export, file_of

FORMAT = "recipe/1"
WEIGHTS, RECIPE, PLAN, REPORT = "model.safetensors", "recipe.json", "plan.yaml", "report.json"


@dataclass(frozen=True)
class Built:
    """A model that a recipe built.

    Attributes:
        model: Plain PyTorch, in evaluation mode.
        answers: What its outputs are called.
        size: Of one picture: (channels, height, width).
        mean, std: By which pictures, in 0 to 1, are normalised.
        groups: Of a detector, which answers are alternatives, by their places; see `Space.groups_of`. Else empty.
    """

    model: nn.Module
    answers: tuple[str, ...]
    size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    groups: tuple[tuple[int, ...], ...] = ()


def recipe_of(order: Order, done: Fulfilled, kit: Kit) -> dict[str, Any]:
    """All that is needed to build the model again, but for its weights."""
    rules = done.plan.rules
    host = kit.host
    return {
        "intarsia": FORMAT,
        "architecture": host.architecture,
        "arguments": host.arguments,
        "size": list(host.size),
        "grain": host.grain,
        "folded": host.folded,
        "keep": {rule.sites: write_units(rule.do.units) for rule in rules if isinstance(rule.do, Keep)},
        "leave_out": [rule.sites for rule in rules if isinstance(rule.do, Skip)],
        "task": list(kit.space.spoken(order.task)),
        "answers": [kit.space.outputs[number] for number in order.task.answers],
        "groups": kit.space.groups_of(kit.space.spoken(order.task)) if kit.space.things else (),
        "mean": list(kit.mean),
        "std": list(kit.std),
        "budget": order.budget.bounds,
        "supernet": host.outline.shape_hash,
        "card": dict(kit.card),
    }


def ship(
    order: Order,
    done: Fulfilled,
    kit: Kit,
    out: Path,
    formats: Sequence[str] = (),
    *,
    int8: Answered | None = None,
) -> Path:
    """Write a model and everything about it into a new folder.

    Args:
        formats: Of `onnx`, `openvino` and `executorch`.
        int8: An ONNX model in 8 bits is written too, its ranges taken from some of these pictures, its accuracy told
            of the others.

    Raises:
        OutputExists: something stands at `out`.
        FitError: an unknown format, too few pictures for 8 bits, or the supernet is not what timm builds from its name
            and arguments, so nobody could build the model again.
        RigError: another runtime answers otherwise than PyTorch, or is not installed; nothing is written.
    """
    for name in formats:
        backend_of(name)
    if int8 is not None:
        halves(len(int8.pictures), int8.holds)  # refuses now what would be refused after the work
    remote = order.device is not None and order.device.remote
    formats = [*formats, *({"onnx"} - set(formats) if remote or int8 is not None else ())]
    with new_folder(out) as part:
        weights = {name: value.contiguous() for name, value in done.model.state_dict().items()}
        save_file(weights, part / WEIGHTS)
        (part / WEIGHTS).chmod(0o644)
        recipe = recipe_of(order, done, kit) | {"sha256": sha256_of(part / WEIGHTS)}
        (part / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n")
        refuse_unbuildable(part, done, kit)
        (part / PLAN).write_text(write_plan(done.plan))
        things = kit.space.things
        if any(file_of(name) in done.converted for name in formats):
            for file, content in done.converted.items():
                (part / file).write_bytes(content)
        differs = {name: export(done.model, kit.host.size, name, part, things=things) for name in formats}
        on = machine() if order.device is None else order.device.machine
        report = {
            "costs": done.costs, "predicted": done.predicted, "models_measured": done.measured, "took": done.took,
            "machine": dict(on), "remote": remote, "differs_from_pytorch": differs,
        }  # fmt: skip
        if remote:
            copy_script(part)
        if int8 is not None:
            report["int8"] = asdict(int8_of(part, int8, things=things))
        (part / REPORT).write_text(json.dumps(report, indent=1) + "\n")
    return out


def refuse_unbuildable(folder: Path, done: Fulfilled, kit: Kit) -> None:
    """Raise `FitError` unless the recipe and weights in a folder build the model that they are of."""
    try:
        built = rebuild(folder)
    except CardError as error:
        raise misbuilt(kit.host, "its units or tensors differ.") from error
    refuse_unlike(kit.host, done.model, built.model)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    return sha256_of_bytes(path.read_bytes())


def sha256_of_bytes(content: bytes) -> str:
    """The SHA-256 of what a file would hold."""
    return hashlib.sha256(content).hexdigest()


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a shipped model.

    Raises:
        CardError: the folder holds none.
    """
    path = folder / RECIPE
    try:
        recipe: dict[str, Any] = json.loads(path.read_text())
        if recipe["intarsia"] != FORMAT:
            raise KeyError(recipe["intarsia"])
    except FileNotFoundError:
        raise CardError(f"{folder}: no {RECIPE} in it, so it is no model that was shipped.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise CardError(f"{path}: not a recipe ({error}).") from None
    return recipe


def host_of(recipe: Mapping[str, Any]) -> TimmSupernet:
    """The supernet that a recipe narrows, with fresh weights."""
    channels, height, width = recipe["size"]
    host = timm_supernet.create(
        recipe["architecture"], (channels, height, width), grain=recipe["grain"], **recipe["arguments"]
    )
    if recipe.get("folded"):
        host = timm_supernet.folded(host)
        host.unfolded = None  # it has nobody's weights
    return host


def kept_of(recipe: Mapping[str, Any], host: TimmSupernet) -> dict[str, tuple[int, ...]]:
    """The units that a recipe keeps, by site; none of a block that it leaves out.

    Raises:
        KeyError: the supernet has no such site, or no such unit in it.
    """
    keep = {site: read_units(units) for site, units in recipe["keep"].items()}
    for site, units in keep.items():
        if site not in host.units or units[-1] >= host.units[site].count:
            raise KeyError(f"{site}: {recipe['keep'][site]}")
    if unknown := set(recipe["leave_out"]) - host.blocks.keys():
        raise KeyError(f"{min(unknown)}: no block to leave out")
    return keep | dict.fromkeys(recipe["leave_out"], ())


def built_of(recipe: Mapping[str, Any], host: TimmSupernet, model: nn.Module) -> Built:
    """A model with all that a recipe says about it."""
    return Built(
        model.eval(), tuple(recipe["answers"]), host.size, tuple(recipe["mean"]), tuple(recipe["std"]),
        tuple(tuple(group) for group in recipe.get("groups") or ()),
    )  # fmt: skip


def rebuild(folder: Path) -> Built:
    """Build a shipped model from its recipe and weights, without the supernet.

    Raises:
        CardError: the recipe or the weights are not whole.
    """
    recipe = read_recipe(folder)
    try:
        host = host_of(recipe)
        built = built_of(recipe, host, host.narrowed(kept_of(recipe, host))[0])
        wanted = recipe["sha256"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CardError(f"{folder / RECIPE}: not a recipe ({error}).") from None
    if (folder / WEIGHTS).exists() and sha256_of(folder / WEIGHTS) != wanted:
        raise CardError(f"{folder / WEIGHTS}: not the weights of this recipe, or not whole. Ship the model again.")
    load_into(built.model, folder / WEIGHTS)
    return built
