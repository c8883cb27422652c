"""Questions about mosaics of four digits, each to be answered with yes or no.

A task is a set of counts and a set of digits: "only two, odd" asks whether two cells, no more and no fewer, hold an odd
digit; "there is" stands for every count from one to four. 5 counts x 15 sets of digits are 75 tasks, in three parts:

    seen       50 tasks, trained, among others about random sets of digits
    unseen     20 tasks: each count and each set is known from other tasks, their combination is not
    hard       5 tasks: a set of digits that no trained task asks about

Source: the tasks and splits of NumVQA in NN-Factory (Xu et al. 2023), with two sets of digits more.
"""

from collections.abc import Container

import torch
from torch import Tensor

from intarsia.factory import Space, Task

from .digits import Digits

COUNTS = ("only one", "only two", "only three", "only four")
DIGITS = tuple("0123456789")
SETS = {
    "odd": tuple("13579"), "even": tuple("02468"), "small": tuple("01234"), "large": tuple("56789"),
    "prime": tuple("2357"),
}  # fmt: skip
SPACE = Space(COUNTS + DIGITS, {"there is": COUNTS, **SETS}, ("no", "yes"), (COUNTS, DIGITS))
HARD = "prime"
CELLS = 2  # rows and columns of a mosaic


def split() -> dict[str, list[Task]]:
    """All tasks, by part."""
    parts: dict[str, list[Task]] = {"seen": [], "unseen": [], "hard": []}
    for row, digits in enumerate([*DIGITS, *SETS]):
        for column, count in enumerate(("there is", *COUNTS)):
            part = "hard" if digits == HARD else "unseen" if (row + 2 * column) % 7 in (0, 3) else "seen"
            parts[part].append(SPACE.task([count, digits]))
    return parts


def at_random(held: Container[Task]) -> Task:
    """A task about one to five digits, but none of those that are held out."""
    while True:
        digits = torch.randperm(10)[: int(torch.randint(1, 6, ()))].tolist()
        count = ("there is", *COUNTS)[int(torch.randint(1 + len(COUNTS), ()))]
        task = SPACE.task([count, *(DIGITS[digit] for digit in digits)])
        if task not in held:
            return task


def answered(task: Task, chosen: Tensor) -> Tensor:
    """The right answers to a question, where the digit in each cell (count, 2, 2) is known: (count)."""
    counts, digits = ([part for part in task.parts if (part < len(COUNTS)) == here] for here in (True, False))
    found = torch.isin(chosen, torch.tensor(digits) - len(COUNTS)).flatten(1).sum(1)
    return torch.isin(found, torch.tensor(counts) + 1).long()


def drawn(task: Task, count: int) -> tuple[Tensor, Tensor]:
    """Which digit is in each cell (count, 2, 2), and whether the answer is yes (count): half and half."""
    counts = torch.zeros(CELLS**2 + 1, dtype=torch.bool)
    inside = torch.zeros(10)
    for part in task.parts:
        if part < len(COUNTS):
            counts[part + 1] = True
        else:
            inside[part - len(COUNTS)] = 1.0
    yes = torch.rand(count) < 0.5
    hits = torch.multinomial(torch.stack([~counts, counts]).float()[yes.long()], 1)
    of_task = torch.rand(count, CELLS**2).argsort(1) < hits  # random places for so many
    chosen = torch.where(
        of_task,
        torch.multinomial(inside, count * CELLS**2, replacement=True).reshape(count, -1),
        torch.multinomial(1 - inside, count * CELLS**2, replacement=True).reshape(count, -1),
    )
    return chosen.reshape(count, CELLS, CELLS), yes.long()


def laid(digits: Digits, chosen: Tensor) -> Tensor:
    """Mosaics (count, 1, 32, 32) of pictures of these digits (count, 2, 2)."""
    cells = torch.empty(chosen.numel(), *digits[0].shape[1:])
    for digit, pictures in enumerate(digits):
        places = (chosen.flatten() == digit).nonzero().flatten()
        cells[places] = pictures[torch.randint(len(pictures), (len(places),))]
    side = cells.shape[-1]
    rows = cells.reshape(-1, CELLS, CELLS, side, side).permute(0, 1, 3, 2, 4)
    return rows.reshape(-1, 1, CELLS * side, CELLS * side)
