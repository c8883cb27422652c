"""Weights and what they are, in one safetensors file: the card is JSON among the file's metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CardError
from ..saving import new_file

CARD = "card"


def write(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write tensors and their card in one stroke.

    Raises:
        OutputExists: something stands at `path`.
    """
    with new_file(path) as part:
        found = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(found, part, metadata={CARD: json.dumps(dict(card), sort_keys=True)})


def read(path: Path, document: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the card that `write` wrote.

    Args:
        document: The kind of file that is wanted, the card's entry "intarsia".

    Raises:
        CardError: there is no such file, or it is of another kind.
    """
    tensors, metadata = read_tensors(path)
    try:
        card = json.loads(metadata.get(CARD, "{}"))
    except json.JSONDecodeError as error:
        raise CardError(f"{path}: its card is not JSON ({error}); take another copy of the file.") from error
    kind = card.get("intarsia") if isinstance(card, dict) else None
    if kind != document:
        raise CardError(f"{path}: its card says {kind!r} where {document!r} is wanted; name another file.")
    return tensors, card


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
