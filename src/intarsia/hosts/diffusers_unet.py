"""Stable Diffusion's UNet: SD 1.x, 2.x, XL and their relatives that are told words, so not Kandinsky's.

Sites, from coarse to fine:

    down_blocks.0, mid_block, up_blocks.3       block: one resolution, its sampler included
    up_blocks.3.layers.1                        layer: a resnet and the attention behind it
    up_blocks.3.resnets.1, ...attentions.1      unit: the nodes of the data flow
    ...transformer_blocks.0.attn1               subunit: attn1, attn2, ff inside one attention
    pairs.2.1                                   pair: a down layer and the up layer of the same number, for baking
    stages.3                                    stage: a whole resolution but for the first, for baking

Source: the levels block, layer and unit are A-SDM's (Zhu et al. 2024); their mapping onto these
modules is ours. Pairs and the last stage are what BK-SDM removes.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import FitError
from ..plan import Outline, Site
from ..plan.outline import Contract
from ..rig.contract import Host
from ..rig.outlining import outline_of
from . import unet_cutting, unet_inputs

# What must be alike in a model that answers in another's place: all that decides with what it is called.
ASKED = ("in_channels", "out_channels", "cross_attention_dim", "addition_embed_type", "addition_time_embed_dim",
         "projection_class_embeddings_input_dim", "class_embed_type", "num_class_embeds", "time_cond_proj_dim",
         "encoder_hid_dim", "encoder_hid_dim_type")  # fmt: skip
# What a model that has none of these does not read, so that one that does may be its host.
UNREAD = {"time_cond_proj_dim": "timestep_cond", "class_embed_type": "class_labels", "num_class_embeds": "class_labels",
          "addition_embed_type": "added_cond_kwargs", "addition_time_embed_dim": "added_cond_kwargs",
          "projection_class_embeddings_input_dim": "added_cond_kwargs"}  # fmt: skip
UNIT_LISTS = ("resnets", "attentions", "downsamplers", "upsamplers")


class UNetHost:
    """Any `UNet2DConditionModel` whose blocks are made of resnets, attentions and samplers."""

    name = "diffusers/unet-2d-condition"

    def __init__(self, module: UNet2DConditionModel, **sizes: int) -> None:
        self.module = module
        self.sizes = sizes
        for path, block in self.blocks():
            strange = [name for name, _ in block.named_children() if name not in UNIT_LISTS]
            if strange:
                raise FitError(
                    f"{path} is a {type(block).__name__}, whose {strange[0]!r} we do not know how to follow."
                )

    @staticmethod
    def knows(model: nn.Module) -> bool:
        return isinstance(model, UNet2DConditionModel)

    @cached_property
    def outline(self) -> Outline:
        return outline_of(self, **self.sizes)

    @property
    def root(self) -> str:
        return "conv_out"

    def blocks(self) -> Iterator[tuple[str, nn.Module]]:
        """The blocks in running order."""
        yield from ((f"down_blocks.{number}", block) for number, block in enumerate(self.module.down_blocks))
        if self.module.mid_block is not None:
            yield "mid_block", self.module.mid_block
        yield from ((f"up_blocks.{number}", block) for number, block in enumerate(self.module.up_blocks))

    def sites(self) -> tuple[Site, ...]:
        """Sites without costs: the UNet as a graph, its skip connections followed."""
        found: list[Site] = [Site("conv_in", "unit")]
        last, skips = "conv_in", ["conv_in"]
        for path, block in self.blocks():
            layers: list[list[Site]] = []
            for kinds in layer_order(path, block):
                layer = []
                for kind, number in kinds:
                    module = getattr(block, kind)[number]
                    skip = [skips.pop()] if kind == "resnets" and path.startswith("up") else []
                    unit = unit_of(f"{path}.{kind}.{number}", module, (last, *skip))
                    layer.append(unit)
                    last = unit.path
                layers.append(layer)
                if path.startswith("down"):
                    skips.append(last)
            units = [unit for layer in layers for unit in layer]
            found.append(Site(path, "block", skip=cut_of(path), parts=tuple(unit.path for unit in units)))
            for number, layer in enumerate(layers):
                if "samplers" not in layer[0].path:
                    parts = tuple(unit.path for unit in layer)
                    found.append(Site(f"{path}.layers.{number}", "layer", parts=parts))
                for unit in layer:
                    found.append(unit)
                    found += [Site(part, "subunit", skip="zero") for part in unit.parts]
        found.append(Site("conv_out", "unit", reads=(last,)))
        by_path = {site.path: site for site in found}
        return (*found, *self.pairs(by_path), *self.stages(by_path))

    def pairs(self, sites: Mapping[str, Site]) -> list[Site]:
        """A down layer and the up layer of the same number; the first of each level stays."""
        levels = len(self.module.down_blocks)
        pairs = []
        for level in range(levels):
            number = 1
            while (down := sites.get(f"down_blocks.{level}.layers.{number}")) is not None:
                up = sites[f"up_blocks.{levels - 1 - level}.layers.{number}"]
                pairs.append(Site(f"pairs.{level}.{number}", "pair", skip="cut", parts=down.parts + up.parts))
                number += 1
        return pairs

    def stages(self, sites: Mapping[str, Site]) -> list[Site]:
        """A resolution with the way down to it and up from it; the first stays."""
        levels = len(self.module.down_blocks)
        stages = []
        for level in range(1, levels):
            down, up = sites[f"down_blocks.{level}"], sites[f"up_blocks.{levels - 1 - level}"]
            way = f"down_blocks.{level - 1}.downsamplers.0"
            parts = ((way,) if way in sites else ()) + down.parts + up.parts
            stages.append(Site(f"stages.{level}", "stage", skip="cut", parts=parts))
        return stages

    def inputs(self, **sizes: int | None) -> dict[str, Any]:
        return unet_inputs.meta_inputs(self.module, **sizes)

    def time_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
        time = args[1] if len(args) > 1 else kwargs["timestep"]
        return float(time.flatten()[0]) if isinstance(time, Tensor) else float(time)

    def step_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Pipelines pass the elements of `scheduler.timesteps`, which `set_timesteps` makes anew."""
        time = args[1] if len(args) > 1 else kwargs["timestep"]
        if not isinstance(time, Tensor) or time.dim():
            return None
        return time if time.untyped_storage().nbytes() > time.element_size() else None

    def words_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        return args[2] if len(args) > 2 else kwargs.get("encoder_hidden_states")

    def sample_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        return args[0] if args else kwargs["sample"]

    def hands_on(self, path: str) -> tuple[str, ...]:
        layers = [layer[-1] for layer in layer_order(path, self.module.get_submodule(path))]
        units = tuple(f"{path}.{kind}.{number}" for kind, number in layers)
        return units if path.startswith("down") else units[-1:]

    def packed(self, path: str, answers: Sequence[Tensor]) -> Any:
        return (answers[-1], tuple(answers)) if path.startswith("down") else answers[-1]

    def unpacked(self, path: str, output: Any) -> Sequence[Tensor]:
        return output[1] if path.startswith("down") else [output]

    def like_answer(self, answer: Tensor, kwargs: Mapping[str, Any]) -> Any:
        return UNet2DConditionOutput(sample=answer) if kwargs.get("return_dict", True) else (answer,)

    def shortcut_module(self, path: str) -> str | None:
        found = getattr(self.module.get_submodule(path), "conv_shortcut", None)
        return None if found is None else f"{path}.conv_shortcut"

    def shortcut(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        given = args[0] if args else kwargs["hidden_states"]
        resnet = self.module.get_submodule(path)
        if ".resnets." not in path:
            return given
        if getattr(resnet, "conv_shortcut", None) is not None:
            given = resnet.conv_shortcut(given)
        return given / getattr(resnet, "output_scale_factor", 1.0)

    def state(self) -> str:
        module = self.module
        free_u = [[getattr(block, name, None) for name in ("s1", "s2", "b1", "b2")] for block in module.up_blocks]
        processors = [
            (type(one).__name__, getattr(one, "scale", None)) for _, one in sorted(module.attn_processors.items())
        ]
        adapters = [
            (name, piece.scaling, getattr(piece, "active_adapters", None), getattr(piece, "merged", None))
            for name, piece in module.named_modules()
            if isinstance(getattr(piece, "scaling", None), dict)
        ]
        return f"{type(module).__name__} {dict(module.config)} {free_u} {processors} {adapters}"

    def edits_in_place(self, kwargs: Mapping[str, Any]) -> bool:
        """T2I-Adapters add to block outputs in place, and FreeU scales them in place."""
        free_u = any(getattr(block, "s1", None) is not None for block in self.module.up_blocks)
        control = kwargs.get("down_block_additional_residuals") is not None
        old_adapter = control and kwargs.get("mid_block_additional_residual") is None
        return free_u or old_adapter or kwargs.get("down_intrablock_additional_residuals") is not None

    def before_words(self) -> tuple[str, ...]:
        if str(self.module.config.addition_embed_type).startswith("text"):  # words are in the time embedding
            return ("conv_in",)
        found, block = ["conv_in", "down_blocks.0.resnets.0"], self.module.down_blocks[0]
        if getattr(block, "attentions", None):
            inside = ["proj_in"]
            if not block.attentions[0].transformer_blocks[0].only_cross_attention:
                inside.append("transformer_blocks.0.attn1")
            found += [f"down_blocks.0.attentions.0.{name}" for name in inside]
        return tuple(found)

    def without_words(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Tensor]:
        names = ["sample", "timestep", "timestep_cond", "class_labels", "attention_mask"]
        if self.module.config.addition_embed_type is not None:
            names.append("added_cond_kwargs")
        call = inspect.signature(type(self.module).forward).bind(self.module, *args, **kwargs).arguments
        leaves = tree_leaves([call.get(name) for name in names])
        return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.numel() > 1]

    def misfit(self, other: Host) -> str | None:
        if not isinstance(other.module, UNet2DConditionModel):
            return f"it is a {type(other.module).__name__}"
        ours, theirs = self.module.config, other.module.config
        for name in ASKED:
            unread = name in UNREAD and theirs[name] is None
            if not unread and width_of(ours[name]) != width_of(theirs[name]):
                return f"its {name} is {theirs[name]}, the host's {ours[name]}"
        return None

    def misheard(self, other: Host, kwargs: Mapping[str, Any]) -> str | None:
        """Residuals of a ControlNet, for each skip connection, or of a T2I-Adapter, for each level.

        diffusers adds as many as find a place, wrongly paired, and says nothing.
        """
        control = kwargs.get("down_block_additional_residuals") is not None
        by_skip = control and kwargs.get("mid_block_additional_residual") is not None
        by_level = (control and not by_skip) or kwargs.get("down_intrablock_additional_residuals") is not None
        for given, places, what in ((by_skip, skips, "skip connections"), (by_level, levels, "levels")):
            ours, theirs = (places(host.module) for host in (self, other))
            if given and ours != theirs:
                return f"it brings a residual for each of {ours} {what}, and there are {theirs}"
        return None

    def told(self, other: Host, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        assert isinstance(other.module, UNet2DConditionModel), "what misfits is never called"
        config = other.module.config
        unread = {said for said in UNREAD.values() if all(config[name] is None for name in read_by(said))}
        return {name: value for name, value in kwargs.items() if name not in unread}

    def without(self, cuts: Sequence[str]) -> tuple[UNet2DConditionModel, dict[str, str]]:
        return unet_cutting.without(self.module, cuts)


def read_by(said: str) -> list[str]:
    """The entries of a config that make a model read this argument."""
    return [name for name, read in UNREAD.items() if read == said]


def levels(unet: Any) -> int:
    """Resolutions on the way down."""
    return len(unet.down_blocks)


def skips(unet: Any) -> int:
    """Features that are handed across from the way down."""
    return 1 + sum(len(block.resnets) + len(block.downsamplers or ()) for block in unet.down_blocks)


def width_of(value: Any) -> Any:
    """A config entry, one number where a list says the same of each level."""
    return value[0] if isinstance(value, (list, tuple)) and len(set(value)) == 1 else value


def cut_of(path: str) -> Contract:
    """A whole block cannot be left out, but for the middle one, and only by baking."""
    return "cut" if path == "mid_block" else "never"


def layer_order(path: str, block: Any) -> Iterator[list[tuple[str, int]]]:
    """The (list, number) of each unit in running order, layer by layer, samplers as a layer of their own."""
    attentions = list(getattr(block, "attentions", None) or [])
    if path == "mid_block":
        yield [("resnets", 0)]
        for number, attention in enumerate(attentions):
            yield [("attentions", number)] * (attention is not None) + [("resnets", number + 1)]
        yield from ([("resnets", number)] for number in range(max(1, len(attentions) + 1), len(block.resnets)))
        return
    for number, (_, attention) in enumerate(zip_longest(block.resnets, attentions)):
        yield [("resnets", number)] + [("attentions", number)] * (attention is not None)
    for kind in ("downsamplers", "upsamplers"):
        yield from ([(kind, number)] for number in range(len(getattr(block, kind, None) or [])))


def unit_of(path: str, module: nn.Module, reads: tuple[str, ...]) -> Site:
    """One node of the data flow, with the pieces of its transformer blocks."""
    parts = tuple(
        f"{path}.transformer_blocks.{number}.{piece}"
        for number, block in enumerate(getattr(module, "transformer_blocks", ()))
        for piece in ("attn1", "attn2", "ff")
        if getattr(block, piece, None) is not None
    )
    goes_around = re.search(r"\.(resnets|attentions)\.", path) is not None and not resamples(module)
    changes_width = len(reads) > 1 or getattr(module, "conv_shortcut", None) is not None
    return Site(
        path,
        "unit",
        skip="identity" if goes_around and not changes_width else "never",
        shortcut_macs=0 if goes_around else None,
        reads=reads,
        parts=parts,
    )


def resamples(module: nn.Module) -> bool:
    """Whether a resnet changes the size of its input, so that there is no way around it."""
    return getattr(module, "upsample", None) is not None or getattr(module, "downsample", None) is not None
