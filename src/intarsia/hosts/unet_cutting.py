"""Leave layers out of a UNet: the smaller config, and where each of its tensors comes from.

Source: BK-SDM keeps the first layer of each down block and the first and last of each up block, so that
every skip connection still finds a reader of its width. Any numbers of inner layers may go, the deepest
resolutions with all that is in them, and single units and subunits that have a way around them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from diffusers import UNet2DConditionModel
from torch import nn

from ..errors import FitError
from .assembled_unet import AssembledUNet

PAIR = re.compile(r"pairs\.(\d+)\.(\d+)")
INNER = re.compile(r"((?:down|up)_blocks\.\d+|mid_block)\.(\w+)\.(\d+)(.*)")
STAGE = re.compile(r"stages\.(\d+)")
PER_LEVEL = ("block_out_channels", "down_block_types", "layers_per_block", "cross_attention_dim", "attention_head_dim",
             "num_attention_heads", "transformer_layers_per_block", "only_cross_attention")  # fmt: skip


def without(unet: UNet2DConditionModel, cuts: Sequence[str]) -> tuple[UNet2DConditionModel, dict[str, str]]:
    """A smaller UNet without the pairs, stages, units and subunits in `cuts`, and `mid_block` if named.

    Its weights are not set. It is a plain `UNet2DConditionModel` unless single units or subunits are left out.

    Returns:
        The UNet, and for each of its tensors the name of the one it comes from.

    Raises:
        FitError: something in `cuts` cannot be cut out, or stages are cut out from above others that stay.
    """
    levels = len(unet.down_blocks)
    dropped: dict[int, set[int]] = {level: set() for level in range(levels)}
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    gone: set[int] = set()
    left_out: list[str] = list(config.pop("left_out", ()))
    for cut in cuts:
        if match := PAIR.fullmatch(cut):
            dropped[int(match[1])].add(int(match[2]))
        elif match := STAGE.fullmatch(cut):
            gone.add(int(match[1]))
        elif cut == "mid_block":
            config["mid_block_type"] = None
        elif INNER.fullmatch(cut):
            left_out.append(cut)
        else:
            raise FitError(f"{cut!r} cannot be cut out of a UNet; pairs, stages, 'mid_block', units and subunits can.")
    stay = levels - len(gone)
    if gone != set(range(stay, levels)):
        raise FitError(f"stages are cut out from the deepest up: {sorted(gone)} leaves a hole below stage {stay}.")
    config["layers_per_block"] = [
        len(block.resnets) - len(dropped[level]) for level, block in enumerate(unet.down_blocks)
    ]
    if gone:
        deepest, last = config["block_out_channels"][stay - 1], config["block_out_channels"][-1]
        if deepest != last:
            raise FitError(
                f"stage {stay} cannot be cut out: the one above it has {deepest} channels, and what comes up from "
                f"below {last}."
            )
        config["up_block_types"] = list(config["up_block_types"])[len(gone) :]
        for name in PER_LEVEL:
            if isinstance(config.get(name), (list, tuple)):
                config[name] = list(config[name])[:stay]
    if len(set(config["layers_per_block"])) == 1:
        config["layers_per_block"] = config["layers_per_block"][0]

    names = Renaming(unet, dropped, stay, config["mid_block_type"] is not None)
    absent = [new for old in dict.fromkeys(left_out) if (new := names.after(old)) is not None]
    absent = [path for path in absent if not lies_in(path, absent)]
    experts = {new: one for old, one in config.pop("experts", {}).items() if (new := names.after(old)) is not None}
    additions: dict[str, Any] = {
        "left_out": absent,
        "experts": {path: one for path, one in experts.items() if not lies_in(path, absent)},
    }
    kind = AssembledUNet if any(additions.values()) else UNet2DConditionModel
    made = kind.from_config(config | additions if any(additions.values()) else config)
    smaller = nn.Module.to(made, device=unet.device, dtype=unet.dtype)
    return smaller, {name: names.before(name) for name in smaller.state_dict()}


def lies_in(path: str, groups: Sequence[str]) -> bool:
    """Whether a module is inside another of these."""
    return any(path.startswith(f"{group}.") for group in groups)


class Renaming:
    """What the modules of a UNet are called once pairs and stages are cut out, and were called before."""

    def __init__(self, unet: UNet2DConditionModel, dropped: Mapping[int, set[int]], stay: int, has_middle: bool):
        self.has_middle = has_middle
        self.kept: dict[str, tuple[str, list[int]]] = {}  # by new block: its old name, and the old numbers that stay
        levels = len(unet.down_blocks)
        for level in range(stay):
            side = len(unet.down_blocks[level].resnets)
            down = [number for number in range(side) if number not in dropped[level]]
            up = [number for number in range(side + 1) if number not in dropped[level]]
            self.kept[f"down_blocks.{level}"] = f"down_blocks.{level}", down
            self.kept[f"up_blocks.{stay - 1 - level}"] = f"up_blocks.{levels - 1 - level}", up

    def before(self, name: str) -> str:
        """The old name of what is now called `name`."""
        match = INNER.fullmatch(name)
        if match is None or match[1] == "mid_block":
            return name
        block, numbers = self.kept[match[1]]
        number = numbers[int(match[3])] if match[2] in ("resnets", "attentions") else int(match[3])
        return f"{block}.{match[2]}.{number}{match[4]}"

    def after(self, name: str) -> str | None:
        """The new name of what was called `name`; None if it is gone."""
        match = INNER.fullmatch(name)
        if match is None or match[1] == "mid_block":
            return name if match is None or self.has_middle else None
        for new, (old, numbers) in self.kept.items():
            if old == match[1]:
                number = int(match[3])
                if match[2] not in ("resnets", "attentions"):
                    return f"{new}.{match[2]}.{number}{match[4]}"
                return f"{new}.{match[2]}.{numbers.index(number)}{match[4]}" if number in numbers else None
        return None
