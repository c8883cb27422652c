"""Fashion-MNIST: 70,000 pictures of ten kinds of clothes, 28x28, in the files of its authors (MIT).

Debian ships them:

    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb runs/fashion/data
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from intarsia import CardError

NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
WORDS = {"shoe": ("sandal", "sneaker", "ankle boot"), "top": ("T-shirt", "pullover", "shirt")}
MEAN, STD = 0.286, 0.353  # of the training pictures as they are, in 0 to 1
SIZE = 32  # enlarged, as a person's pictures are, so that it halves evenly


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pictures (count, 1, 32, 32), normalised, and answers (count).

    Args:
        part: `train` or `t10k`.

    Raises:
        CardError: the files are not in the folder.
    """
    try:
        images = next(folder.rglob(f"{part}-images-idx3-ubyte.gz"))
        labels = next(folder.rglob(f"{part}-labels-idx1-ubyte.gz"))
    except StopIteration:
        raise CardError(
            f"{folder}: no {part}-images-idx3-ubyte.gz below it. See {__name__} for where to get it."
        ) from None
    pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    answers = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    large = [Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for one in pixels]
    pictures = torch.from_numpy(np.stack(large))[:, None].float() / 255
    return (pictures - MEAN) / STD, torch.from_numpy(answers.astype(np.int64))
