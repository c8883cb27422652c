"""Tensors from safetensors files into modules: every one of them and no others."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import CardError


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata.

    Raises:
        CardError: there is no such file, or it is no safetensors.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CardError(f"{path}: not a safetensors file that can be read ({error}); name another file.") from error


@torch.no_grad()
def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a module that has exactly these.

    Raises:
        CardError: a tensor is missing, one too many, or of another shape.
    """
    wanted = module.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors or name not in wanted:
            fault = "is missing" if name not in tensors else "is not known"
            raise CardError(f"{path}: the tensor {name!r} {fault}; the file was not written for this kind of module.")
        if tensors[name].shape != wanted[name].shape:
            raise CardError(
                f"{path}: the tensor {name!r} is {tuple(tensors[name].shape)} where {tuple(wanted[name].shape)} is "
                "wanted; the file was written for other sizes."
            )
    for name, value in wanted.items():
        value.copy_(tensors[name])


def load_into(module: nn.Module, path: Path) -> None:
    """Fill a module from a file that holds its tensors and no others.

    Raises:
        CardError: as `read_tensors` and `fill` do.
    """
    fill(module, read_tensors(path)[0], path)
