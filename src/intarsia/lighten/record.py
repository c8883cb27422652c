"""What an assembled model remembers of how it was made: a small file beside its weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import nn

from ..errors import CardError
from ..rig.lineage import Lineage

NAME = "assembly.json"
SCHEMA = "assembly/1"


@dataclass(frozen=True)
class Assembled:
    """How a model was assembled.

    Attributes:
        plan: The plan of one row, as text.
        sources: The models that it was made of, by the names that the plan uses; '' is the one it was cut out of.
        blocks: For each of its blocks, the block it came from: whose features are compared when it is distilled.
        experts: For each convolution of several experts, the removed ones that it inherits.
    """

    plan: str
    sources: Mapping[str, str]
    blocks: Mapping[str, str]
    experts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        (folder / NAME).write_text(json.dumps({"intarsia": SCHEMA, **asdict(self)}, indent=2) + "\n")


def read_record(folder: Path) -> Assembled | None:
    """What `save` wrote into a model's folder; None if the model was not assembled.

    Raises:
        CardError: there is a file of that name, but not of that kind.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
        if data.pop("intarsia") != SCHEMA:
            raise KeyError(SCHEMA)
        return Assembled(**data)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CardError(f"{path}: not a record of an assembly ({error!r}). Assemble the model anew.") from error


def blocks_of(smaller: nn.Module, lineage: Lineage) -> dict[str, str]:
    """For each block of an assembled UNet, the block that its first tensor came from."""
    found: dict[str, str] = {}
    for name, origin in lineage.origins.items():
        block, _, _ = name.partition(".resnets.")
        if block != name and block not in found:
            found[block] = origin.partition(".resnets.")[0]
    return found
