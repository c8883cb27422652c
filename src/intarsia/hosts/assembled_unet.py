"""A UNet put together from parts, whose shape diffusers' config alone cannot say.

Where every level has as many layers as its config says, an assembly is a plain `UNet2DConditionModel`. Single units
left out, and convolutions of several experts, are what this class adds; both are in its config, so that diffusers
saves and loads it like any other model.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ModelMixin as ModelMixin  # by which a stock pipeline knows that this module's class is a model
from diffusers import UNet2DConditionModel
from torch import nn

from ..errors import FitError
from ..parts.expert_conv import ExpertConv2d, Moment
from ..parts.stand_ins import Passing, Silent

ITS_NORM = {"attn1": "norm1", "attn2": "norm2", "ff": "norm3"}  # in diffusers' transformer blocks


class AssembledUNet(UNet2DConditionModel):
    """A UNet with units and subunits left out, and convolutions of several experts.

    Args:
        left_out: Paths of resnets and attentions that hand on their input instead, and of pieces of transformer
            blocks (`attn1`, `attn2`, `ff`) that add nothing.
        experts: For each path of a convolution: `count`, and optionally `routing` and `gate` (see `ExpertConv2d`).
        config: Everything that `UNet2DConditionModel` takes.
    """

    def __init__(
        self, left_out: Sequence[str] = (), experts: Mapping[str, Mapping[str, Any]] | None = None, **config: Any
    ) -> None:
        super().__init__(**config)
        self.register_to_config(left_out=[], experts={})
        self.moment = Moment()
        for path in left_out:
            self.leave_out(path)
        for path, one in (experts or {}).items():
            self.widen(path, **one)

    @classmethod
    def of(cls, unet: UNet2DConditionModel) -> "AssembledUNet":
        """A copy of a UNet, ready to be changed."""
        copy = cls.from_config(unet.config)
        copy.load_state_dict(unet.state_dict())
        return nn.Module.to(copy, device=unet.device, dtype=unet.dtype).train(unet.training)

    def leave_out(self, path: str) -> None:
        """Let a unit hand on its input, or a subunit add nothing to it."""
        inner = ".transformer_blocks." in path
        unit = self.get_submodule(path)
        within, out = (getattr(unit, name, None) for name in ("in_channels", "out_channels"))
        if ".resnets." in path and (within != out or path.startswith("up")):
            raise FitError(f"{path!r} changes the number of channels; nothing can stand in its place.")
        self.set_submodule(path, Silent() if inner else Passing())
        if inner:
            block, _, subunit = path.rpartition(".")
            norm = f"{block}.{ITS_NORM[subunit]}"
            if type(self.get_submodule(norm)) is nn.LayerNorm:  # others shape more than this subunit's input
                self.set_submodule(norm, nn.Identity())  # what nobody reads would wait for a gradient in vain
        self.register_to_config(left_out=[*self.config.left_out, path])

    def widen(self, path: str, count: int, routing: Any = "input", gate: str = "offset") -> None:
        """Put a convolution of several experts in a convolution's place; the others are empty until they are filled."""
        conv = self.get_submodule(path)
        if not isinstance(conv, nn.Conv2d):
            raise FitError(f"{path!r} is a {type(conv).__name__}; only 2d convolutions have experts.")
        bias = None if conv.bias is None else torch.zeros_like(conv.bias)
        others = [(torch.zeros_like(conv.weight), bias)] * (count - 1)
        mixed = ExpertConv2d(conv, others, routing=routing, gate=gate, moment=self.moment)
        self.set_submodule(path, mixed.train(self.training))
        added = {path: {"count": count, "routing": routing, "gate": gate}}
        self.register_to_config(experts={**self.config.experts, **added})

    @functools.wraps(UNet2DConditionModel.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.be_at(self, args, kwargs)
        return super().forward(*args, **kwargs)

    def be_at(self, _called: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Tell the expert convolutions the time step that a UNet is called with. Made to be a forward pre-hook."""
        time = args[1] if len(args) > 1 else kwargs["timestep"]
        self.moment.be(torch.as_tensor(time))

    def expert_convs(self) -> dict[str, ExpertConv2d]:
        """Every convolution of several experts, by path."""
        return {path: module for path, module in self.named_modules() if isinstance(module, ExpertConv2d)}

    def premerge(self, times: Sequence[float]) -> None:
        """Merge the kernels of a sampler's time steps now rather than as they are met, wherever routing is by time."""
        for conv in self.expert_convs().values():
            if conv.routing == "time":
                conv.premerge(times)

    def fold(self) -> UNet2DConditionModel:
        """Make plain convolutions of all fixed mixtures.

        Returns:
            This UNet; or, if nothing is left in it that diffusers' own class has not, one of that class.
        """
        experts = dict(self.config.experts)
        for path, conv in self.expert_convs().items():
            if conv.routing == "fixed":
                self.set_submodule(path, conv.fold())
                del experts[path]
        self.register_to_config(experts=experts)
        if experts or self.config.left_out:
            return self
        ours = ("left_out", "experts")
        config = {key: value for key, value in self.config.items() if key not in ours and not key.startswith("_")}
        plain = UNet2DConditionModel.from_config(config)
        plain.load_state_dict(self.state_dict())
        return nn.Module.to(plain, device=self.device, dtype=self.dtype).train(self.training)


def signature() -> inspect.Signature:
    """The parameters that diffusers may find in a config: ours, and those of the class that is extended."""
    ours = [one for one in inspect.signature(AssembledUNet.__init__).parameters.values() if one.name != "config"]
    theirs = list(inspect.signature(UNet2DConditionModel.__init__).parameters.values())[1:]
    return inspect.Signature([*ours, *theirs])


AssembledUNet.__init__.__signature__ = signature()  # type: ignore[attr-defined]
