"""Weights and what they are, in one safetensors file: the card is JSON among the file's metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..errors import CardError
from ..saving import new_file
from ..tensors import read_tensors

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
