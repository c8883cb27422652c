"""Small models on runtimes other than PyTorch: converted, called, and compared with PyTorch on the spot."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import FitError, RigError
from ..graphs.backends import BACKENDS, Backend, Program
from ..hosts.detector import BOX
from .tracing import GIVEN, TOLD, TRACED

FORMATS = tuple(name for name, backend in BACKENDS.items() if backend.convert is not None)
TORCH = "torch"
TIMED = ("onnx", "openvino")  # besides PyTorch: runtimes whose threads we can set, so that seconds mean something
NEAR = 1e-4  # of the largest answer: what another runtime may differ by
NEAR_THINGS = 1e-3  # pixels of a box, and of a score in 0 to 1


def backend_of(name: str) -> Backend:
    """The backend that a format is of.

    Raises:
        FitError: there is no such format.
        RigError: its package is not installed.
    """
    if name not in FORMATS:
        raise FitError(f"there is no format {name!r}. Known: {', '.join(FORMATS)}.")
    BACKENDS[name].version()
    return BACKENDS[name]


def file_of(name: str) -> str:
    """What a model of this format is called in its folder; others may lie beside it."""
    return f"model{backend_of(name).suffix}"


@torch.no_grad()
def convert(model: nn.Module, inputs: Tensor, name: str, path: Path) -> None:
    """Write a model for another runtime: traced where that can be done, or else as an exported program.

    Args:
        inputs: Pictures of the one shape that it will take, (batch, channels, height, width).
        path: With the suffix of the runtime's backend.

    Raises:
        FitError, RigError: as `backend_of` does; or the runtime has no such operation.
    """
    backend_of(name)
    if name in TRACED:
        with suppress(Exception):  # an exported program may do, and if not, says why
            return TRACED[name](model, inputs, path)
    convert_exported(model, inputs, name, path)


@torch.no_grad()
def convert_exported(model: nn.Module, inputs: Tensor, name: str, path: Path) -> None:
    """The same by way of an exported program."""
    write = backend_of(name).convert
    assert write is not None
    program = torch.export.export(model, (inputs,), strict=False)
    try:
        write(Program(program, [GIVEN], [TOLD]), path, torch.float32)
    except ModuleNotFoundError:  # which is told with what to install
        raise
    except Exception as error:  # each converter has exceptions of its own
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise RigError(
            f"{name} does not take this model: {why} Take another runtime, or another architecture."
        ) from error


@torch.no_grad()
def export(model: nn.Module, size: tuple[int, int, int], name: str, folder: Path, *, things: bool = False) -> float:
    """Write a model for another runtime into a folder, if it is not there yet; compare its answers with PyTorch's.

    Args:
        things: It is a detector: its boxes and its scores are compared.

    Returns:
        The largest difference on a random picture: of the largest answer, or of things in pixels and in scores.

    Raises:
        FitError: there is no such format.
        RigError: it differs by more than `NEAR` or `NEAR_THINGS`, or the runtime is not installed.
    """
    path = folder / file_of(name)
    pictures = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    if not path.exists():
        convert(model, pictures, name, path)
    wanted: Tensor = model(pictures)
    (found,) = BACKENDS[name].ready(path, torch.float32)([pictures])
    apart = things_apart(found, wanted) if things else answers_apart(found, wanted)
    if not apart <= (NEAR_THINGS if things else NEAR):
        meant = "in pixels of boxes or in scores" if things else "of the largest answer"
        raise RigError(f"{name} answers otherwise than PyTorch, by {apart:.2g} {meant}; not kept.")
    return apart


def answers_apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, of the largest answer."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))


def things_apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of boxes, in pixels, or of scores: of answers (batch, cells, 4 + names)."""
    boxes = (found[..., :BOX] - wanted[..., :BOX]).abs().max()
    return float(torch.maximum(boxes, (found[..., BOX:].sigmoid() - wanted[..., BOX:].sigmoid()).abs().max()))
