"""A fulfilled order on disk: weights, a recipe that builds the model without the supernet, and other runtimes' files.

model.safetensors   weights; the same order gives the same bytes
recipe.json         what timm builds, which units of it, what the answers are called; the same order, the same bytes
plan.yaml           the units as a plan of the supernet
report.json         what it costs, and what measured it
model.onnx, .xml    for ONNX Runtime and OpenVINO, each compared with PyTorch before it is kept
model.int8.onnx     in 8 bits; the report tells its accuracy and seconds
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CardError, FitError, RigError
from ..graphs.backends import BACKENDS, Program
from ..hosts import timm_supernet
from ..plan import Keep
from ..plan.text import write_plan
from ..plan.units import read_units, write_units
from ..rig.machine import machine
from ..saving import new_folder
from ..tensors import load_into
from .fulfil import Fulfilled, Order
from .int8 import int8_of
from .kit import Kit

FORMAT = "recipe/1"
WEIGHTS, RECIPE, PLAN, REPORT = "model.safetensors", "recipe.json", "plan.yaml", "report.json"
NEAR = 1e-4  # of the largest answer: what another runtime may differ by


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
    keep = {rule.sites: write_units(rule.do.units) for rule in done.plan.rules if isinstance(rule.do, Keep)}
    host = kit.host
    return {
        "intarsia": FORMAT,
        "architecture": host.architecture,
        "arguments": host.arguments,
        "size": list(host.size),
        "grain": host.grain,
        "keep": keep,
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
    int8: tuple[Tensor, Tensor] | None = None,
) -> Path:
    """Write a model and everything about it into a new folder.

    Args:
        formats: Of `onnx` and `openvino`.
        int8: Pictures (count, channels, height, width), normalised, and outputs of the supernet that are right (count):
            an ONNX model in 8 bits is written too, its ranges taken from some, its accuracy told of the others.

    Raises:
        OutputExists: something stands at `out`.
        FitError: an unknown format, or too few pictures for 8 bits.
        RigError: another runtime answers otherwise than PyTorch, or is not installed; nothing is written.
    """
    known = [name for name, backend in BACKENDS.items() if backend.convert is not None]
    if strange := [name for name in formats if name not in known]:
        raise FitError(f"there is no format {strange[0]!r}. Known: {', '.join(known)}.")
    formats = [*formats, *({"onnx"} - set(formats) if int8 is not None else ())]
    with new_folder(out) as part:
        weights = {name: value.contiguous() for name, value in done.model.state_dict().items()}
        save_file(weights, part / WEIGHTS)
        (part / WEIGHTS).chmod(0o644)
        recipe = recipe_of(order, done, kit) | {"sha256": sha256_of(part / WEIGHTS)}
        (part / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n")
        (part / PLAN).write_text(write_plan(done.plan))
        differs = {name: export(done.model, kit.host.size, name, part) for name in formats}
        report = {
            "costs": done.costs, "predicted": done.predicted, "models_measured": done.measured, "took": done.took,
            "machine": machine(), "differs_from_pytorch": differs,
        }  # fmt: skip
        if int8 is not None:
            report["int8"] = asdict(int8_of(part, order.task, *int8))
        (part / REPORT).write_text(json.dumps(report, indent=1) + "\n")
    return out


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rebuild(folder: Path) -> Built:
    """Build a shipped model from its recipe and weights, without the supernet.

    Raises:
        CardError: the recipe or the weights are not whole.
    """
    path = folder / RECIPE
    try:
        recipe = json.loads(path.read_text())
        if recipe["intarsia"] != FORMAT:
            raise KeyError(recipe["intarsia"])
        channels, height, width = recipe["size"]
        host = timm_supernet.create(
            recipe["architecture"], (channels, height, width), grain=recipe["grain"], **recipe["arguments"]
        )
        keep = {site: read_units(units) for site, units in recipe["keep"].items()}
        if strange := keep.keys() - host.units.keys():
            raise KeyError(sorted(strange)[0])
        model, _ = host.narrowed(keep)
        built = Built(
            model.eval(), tuple(recipe["answers"]), host.size, tuple(recipe["mean"]), tuple(recipe["std"]),
            tuple(tuple(group) for group in recipe.get("groups", ())),
        )  # fmt: skip
        wanted = recipe["sha256"]
    except FileNotFoundError:
        raise CardError(f"{folder}: no {RECIPE} in it, so it is no model that was shipped.") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(f"{path}: not a recipe ({error}).") from None
    if (folder / WEIGHTS).exists() and sha256_of(folder / WEIGHTS) != wanted:
        raise CardError(f"{folder / WEIGHTS}: not the weights of this recipe, or not whole. Ship the model again.")
    load_into(built.model, folder / WEIGHTS)
    return built


def export(model: nn.Module, size: tuple[int, int, int], name: str, folder: Path) -> float:
    """Write a model for another runtime, and compare its answers with PyTorch's.

    Returns:
        The largest difference on random pictures, of the largest answer.

    Raises:
        RigError: it differs by more than `NEAR`, or the runtime is not installed.
    """
    backend = BACKENDS[name]
    backend.version()
    assert backend.convert is not None
    pictures = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        program = Program(torch.export.export(model, (pictures,), strict=False), ["pictures"], ["answers"])
        path = folder / f"model{backend.suffix}"
        backend.convert(program, path, torch.float32)
        wanted: Tensor = model(pictures)
        (found,) = backend.ready(path, torch.float32)([pictures])
    differs = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))
    if not differs <= NEAR:
        raise RigError(f"{name} answers otherwise than PyTorch, by {differs:.2g} of the largest answer; not kept.")
    return differs
