"""Leave layers out of a UNet: the smaller config, and where each of its tensors comes from.

Source: BK-SDM keeps the first layer of each down block and the first and last of each up block, so that
every skip connection still finds a reader of its width. Any numbers of inner layers may go, and the deepest
resolutions with all that is in them.
"""

import re
from collections.abc import Sequence

from diffusers import UNet2DConditionModel
from torch import nn

from ..errors import FitError

PAIR = re.compile(r"pairs\.(\d+)\.(\d+)")
STAGE = re.compile(r"stages\.(\d+)")
PER_LEVEL = ("block_out_channels", "down_block_types", "layers_per_block", "cross_attention_dim", "attention_head_dim",
             "num_attention_heads", "transformer_layers_per_block", "only_cross_attention")  # fmt: skip


def without(unet: UNet2DConditionModel, cuts: Sequence[str]) -> tuple[UNet2DConditionModel, dict[str, str]]:
    """A smaller UNet with the pairs and stages in `cuts` and, if named, `mid_block` left out; its weights are not set.

    Returns:
        The UNet, and for each of its tensors the name of the one it comes from.

    Raises:
        FitError: something in `cuts` cannot be cut out, or stages are cut out from above others that stay.
    """
    levels = len(unet.down_blocks)
    dropped: dict[int, set[int]] = {level: set() for level in range(levels)}
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    gone: set[int] = set()
    for cut in cuts:
        if match := PAIR.fullmatch(cut):
            dropped[int(match[1])].add(int(match[2]))
        elif match := STAGE.fullmatch(cut):
            gone.add(int(match[1]))
        elif cut == "mid_block":
            config["mid_block_type"] = None
        else:
            raise FitError(f"{cut!r} cannot be cut out of a UNet; pairs, stages and 'mid_block' can.")
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

    smaller = nn.Module.to(UNet2DConditionModel.from_config(config), device=unet.device, dtype=unet.dtype)
    kept: dict[str, tuple[str, list[int]]] = {}
    for level in range(stay):
        side = len(unet.down_blocks[level].resnets)
        down = [number for number in range(side) if number not in dropped[level]]
        up = [number for number in range(side + 1) if number not in dropped[level]]
        kept[f"down_blocks.{level}"] = f"down_blocks.{level}", down
        kept[f"up_blocks.{stay - 1 - level}"] = f"up_blocks.{levels - 1 - level}", up

    def origin(name: str) -> str:
        match = re.fullmatch(r"((?:down|up)_blocks\.\d+)\.(\w+)\.(\d+)\.(.+)", name)
        if match is None:
            return name
        block, numbers = kept[match[1]]
        number = numbers[int(match[3])] if match[2] in ("resnets", "attentions") else int(match[3])
        return f"{block}.{match[2]}.{number}.{match[4]}"

    return smaller, {name: origin(name) for name in smaller.state_dict()}
