"""What an assembled model remembers of how it was made: a small file beside its weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from diffusers import UNet2DConditionModel

from ..errors import CardError
from ..plan import Skip, resolve
from ..plan.text import read_plan
from ..rig import Host
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

    def with_experts_of(self, unet: UNet2DConditionModel) -> "Assembled":
        """What is to be remembered of a UNet some of whose mixtures were folded."""
        kept = unet.config.get("experts") or {}
        return replace(self, experts={path: of for path, of in self.experts.items() if path in kept})

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


def ancestry_of(record: Assembled, parent: Host) -> Mapping[str, str]:
    """For each tensor of a model that was assembled so, its name in the model that it was cut out of.

    Args:
        parent: That model, or another of its shape.
    """
    table = resolve(read_plan(record.plan, NAME), parent.outline, record.sources)
    return parent.without([path for path, action in table.cells[0].items() if isinstance(action, Skip)])[1]


def blocks_of(smaller: UNet2DConditionModel, lineage: Lineage) -> dict[str, str]:
    """For each block of an assembled UNet, the block that it came from: whose features are compared.

    Where deeper resolutions were cut out, the last block on the way down has lost its sampler, so its last unit is
    named in its place; and the middle block, which works at another resolution now, is left out.
    """
    names = [f"{kind}_blocks.{number}" for kind in ("down", "up") for number in range(len(smaller.down_blocks))]
    found = {path: lineage.origin_of(path) for path in names}
    if found["up_blocks.0"] == "up_blocks.0":
        return found | ({"mid_block": "mid_block"} if smaller.mid_block is not None else {})
    deepest = f"down_blocks.{len(smaller.down_blocks) - 1}"
    block = smaller.get_submodule(deepest)
    kind = "attentions" if getattr(block, "attentions", None) else "resnets"
    unit = f"{deepest}.{kind}.{len(getattr(block, kind)) - 1}"
    del found[deepest]
    return found | {unit: lineage.origin_of(unit)}
