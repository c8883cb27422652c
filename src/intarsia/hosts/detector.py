"""A one-stage, anchor-free detector on any timm backbone: a timm model itself, and all of it has units.

Features of several resolutions are brought to one width, summed from coarse to fine, and read by one head for all
resolutions. Every cell of every resolution says where a thing around it would reach, and how well each name fits
it. Names are classes and attributes alike: a red sword fits "red" and "sword".

Source: FCOS (Tian et al. 2019), for the boxes. The detector of NN-Factory (Xu et al. 2023) gates the backbone and the
head, and its fastest model is no faster than 87 % of the mean one; so neck and head are inverted residuals here, whose
inner channels are most of the cost and are gated as in the backbone.
"""

from collections.abc import Mapping
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import Format
from timm.models import register_model
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

from ..errors import FitError

BOX = 4


class Detector(nn.Module):
    """Pictures to boxes and names.

    Args:
        backbone: What `timm.create_model` knows it by; it must give features (`features_only`).
        num_classes: How many names there are.
        levels: Which of the backbone's features are read, from fine to coarse; the last three if not given.
        width: Channels of the neck and the head.
        depth: Blocks of the head.
        expand: How many times wider blocks are inside.
        in_chans: Channels of a picture.
        arguments: What else the backbone is created with.

    Attributes:
        strides: Pixels of a cell, level by level.

    Raises:
        FitError: the backbone has no such features, or two of them are of one resolution, as all of a ViT are.
    """

    def __init__(
        self,
        backbone: str,
        *,
        num_classes: int,
        levels: tuple[int, ...] = (-3, -2, -1),
        width: int = 48,
        depth: int = 2,
        expand: int = 4,
        in_chans: int = 3,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        trunk = trunk_of(backbone, tuple(levels), in_chans=in_chans, **(arguments or {}))
        self.backbone = trunk
        self.strides: tuple[int, ...] = tuple(trunk.feature_info.reduction())
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
            for channels in trunk.feature_info.channels()
        )
        self.neck = nn.ModuleList(InvertedResidual(width, width, exp_ratio=expand) for _ in self.strides)
        self.head = nn.Sequential(*[InvertedResidual(width, width, exp_ratio=expand) for _ in range(depth)])
        self.reach = nn.Conv2d(width, BOX, 1)
        self.names = nn.Conv2d(width, num_classes, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """What the last layers begin with; torch's word for it."""
        begin(self.reach, deviation=0, bias=1)  # boxes begin with sides of a few cells
        begin(self.names, deviation=0.01, bias=-4)  # few cells have a thing: begin by saying so (Lin et al. 2017)

    def get_classifier(self) -> nn.Conv2d:
        """What gives each name its logit; timm's word for it."""
        return self.names

    def forward(self, x: Tensor) -> Tensor:
        """Boxes and logits of names.

        Args:
            x: Pictures, (batch, channels, height, width), named as timm names them.

        Returns:
            (batch, cells, 4 + names): left, top, right and bottom in pixels, then logits; cells from fine to coarse,
            row by row.
        """
        order = getattr(self.backbone, "output_fmt", Format.NCHW)
        parts = [nchw_of(part, order) for part in self.backbone(x)]
        features = [lateral(part) for lateral, part in zip(self.laterals, parts, strict=True)]
        for place in range(len(features) - 2, -1, -1):
            above = F.interpolate(features[place + 1], size=features[place].shape[-2:], mode="nearest")
            features[place] = features[place] + above
        cells, centres, strides = [], [], []
        for feature, mix, stride in zip(features, self.neck, self.strides, strict=True):
            hidden = self.head(mix(feature))
            cells.append(hidden.flatten(2))
            centres.append(centres_of(hidden.shape[-2], hidden.shape[-1], stride, hidden.device).flatten(1))
            strides.append(torch.full_like(centres[-1][:1], stride))
        # The rest at once for all resolutions: a small model's seconds are those of calling operations.
        every, middle = torch.cat(cells, 2)[..., None], torch.cat(centres, 1)
        reach, names = self.reach(every).squeeze(-1), self.names(every).squeeze(-1)
        reach, names = reach.float(), names.float()  # pixels want more digits than bfloat16 has
        reach = F.softplus(reach) * torch.cat(strides, 1)
        return torch.cat([middle - reach[:, :2], middle + reach[:, 2:], names], 1).transpose(1, 2)


def nchw_of(features: Tensor, order: Format) -> Tensor:
    """(batch, channels, height, width), whichever way a backbone gives them."""
    return features if order == Format.NCHW else features.permute(0, 3, 1, 2)


def trunk_of(backbone: str, levels: tuple[int, ...], **arguments: Any) -> Any:
    """A backbone that gives these of its features, from fine to coarse."""
    try:
        trunk: Any = timm.create_model(backbone, features_only=True, out_indices=levels, **arguments)
        strides = trunk.feature_info.reduction()
    except (IndexError, AssertionError, RuntimeError) as error:
        raise FitError(f"{backbone!r} has no features at levels {levels} ({error}). Name levels that it has.") from None
    if not strides or strides != sorted(set(strides)):
        raise FitError(
            f"{backbone!r} has cells of {strides} pixels at levels {levels}; each level's must be larger than those of "
            "the one before. Name other levels, or a backbone that grows coarser, as CNNs do."
        )
    return trunk


def begin(layer: nn.Conv2d, deviation: float, bias: float) -> None:
    """Normal weights and one bias."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.constant_(layer.bias, bias)


def centres_of(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """(2, height, width): x and y of the centres of a level's cells, in pixels."""
    down = (torch.arange(height, device=device) + 0.5) * stride
    across = (torch.arange(width, device=device) + 0.5) * stride
    return torch.stack([across.expand(height, width), down[:, None].expand(height, width)])


@register_model
def anchor_free_detector(
    pretrained: bool = False,
    *,
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    backbone: str = "resnet18",
    **arguments: Any,
) -> Detector:
    """For `timm.create_model`, which hands on where weights would come from. There are none."""
    return Detector(backbone, **arguments)
