"""Labelled pictures of a person's own: a folder with a subfolder for each answer; of things, one in COCO's format.

    exam/shoe/1.png
    exam/bag/a.jpg

The convention is `ImageFolder`'s of torchvision.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import CardError, FitError
from ..pictures import on_white, opened
from ..plan.table import nearest
from .coco import read_things
from .exams import Answered, choice_marks
from .kit import Kit
from .task import Task

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_exam(folder: Path, kit: Kit, task: Task) -> Answered:
    """The pictures of a folder that a task is about, with what marks answers to them.

    Raises:
        CardError, FitError: as `read_labelled` and `read_things` do.
    """
    if kit.space.things:
        return read_things(folder, kit, task)
    pictures, answers = read_labelled(folder, kit, task)
    return Answered(pictures, lambda rows: choice_marks(task, answers[rows]))


def read_labelled(folder: Path, kit: Kit, task: Task) -> tuple[Tensor, Tensor]:
    """The pictures of a task's answers, and the answers.

    Returns:
        Pictures (count, channels, height, width), at the kit's size, normalised; and outputs of the supernet (count).

    Raises:
        CardError: the folder is none, or a file in it is no picture.
        FitError: a subfolder is named as no answer of the kit, or an answer of the task has no pictures.
    """
    if not folder.is_dir():
        raise CardError(f"{folder}: not a folder. Give one with a subfolder of pictures for each answer.")
    numbers = {name.casefold(): number for number, name in enumerate(kit.space.outputs)}
    places = {place.name: place for place in sorted(folder.iterdir()) if place.is_dir()}
    if strange := [name for name in places if name.casefold() not in numbers]:
        known = ", ".join(kit.space.outputs)
        raise FitError(
            [
                f"{folder / name}: there is no answer {name!r}.{nearest(name, numbers)} Known: {known}."
                for name in strange
            ]
        )
    pictures: list[Tensor] = []
    answers: list[int] = []
    for name, place in places.items():
        number = numbers[name.casefold()]
        paths = [path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES]
        if number in task.answers:
            pictures += [read_picture(path, kit) for path in paths]
            answers += [number] * len(paths)
    if lacking := [kit.space.outputs[number] for number in task.answers if number not in answers]:
        raise FitError(
            [f"{folder}: no pictures of {name!r}. Put some into {folder / name} (png, jpg, webp)." for name in lacking]
        )
    return torch.stack(pictures), torch.tensor(answers)


def read_picture(path: Path, kit: Kit) -> Tensor:
    """(channels, height, width), normalised."""
    channels, height, width = kit.host.size
    if channels not in MODES:
        raise FitError(f"the kit takes pictures of {channels} channels, and files have {', '.join(map(str, MODES))}.")
    shown = opened(path) if channels > len("RGB") else on_white(opened(path))
    seen = shown.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(seen, np.float32).copy() / 255).reshape(height, width, channels)
    normalised = (pixels - torch.tensor(kit.mean)) / torch.tensor(kit.std)
    return normalised.permute(2, 0, 1).contiguous()
