"""Leave layers out of a UNet: the smaller config, and where each of its tensors comes from.

Source: BK-SDM keeps the first layer of each down block and the first and last of each up block, so that
every skip connection still finds a reader of its width. Any numbers of inner layers may go.
"""

import re
from collections.abc import Sequence

from diffusers import UNet2DConditionModel
from torch import nn

from ..errors import FitError

PAIR = re.compile(r"pairs\.(\d+)\.(\d+)")


def without(unet: UNet2DConditionModel, cuts: Sequence[str]) -> tuple[UNet2DConditionModel, dict[str, str]]:
    """A smaller UNet with the pairs in `cuts` and, if named, `mid_block` left out; its weights are not set.

    Returns:
        The UNet, and for each of its tensors the name of the one it comes from.

    Raises:
        FitError: something in `cuts` is neither a pair nor the middle block.
    """
    levels = len(unet.down_blocks)
    dropped: dict[int, set[int]] = {level: set() for level in range(levels)}
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    for cut in cuts:
        if match := PAIR.fullmatch(cut):
            dropped[int(match[1])].add(int(match[2]))
        elif cut == "mid_block":
            config["mid_block_type"] = None
        else:
            raise FitError(f"{cut!r} cannot be cut out of a UNet; pairs and 'mid_block' can.")
    config["layers_per_block"] = [
        len(block.resnets) - len(dropped[level]) for level, block in enumerate(unet.down_blocks)
    ]
    if len(set(config["layers_per_block"])) == 1:
        config["layers_per_block"] = config["layers_per_block"][0]

    smaller = nn.Module.to(UNet2DConditionModel.from_config(config), device=unet.device, dtype=unet.dtype)
    kept = {}
    for level, block in enumerate(unet.down_blocks):
        side = len(block.resnets)
        kept[f"down_blocks.{level}"] = [number for number in range(side) if number not in dropped[level]]
        kept[f"up_blocks.{levels - 1 - level}"] = [number for number in range(side + 1) if number not in dropped[level]]

    def origin(name: str) -> str:
        match = re.fullmatch(r"((?:down|up)_blocks\.\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name)
        return f"{match[1]}.{match[2]}.{kept[match[1]][int(match[3])]}.{match[4]}" if match else name

    return smaller, {name: origin(name) for name in smaller.state_dict()}
