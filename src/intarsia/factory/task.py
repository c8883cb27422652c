"""Tasks: what a model is for, from a person's words.

    shoe, bag, coat          these
    all                      every one that the supernet knows
    all but shirt, coat      every other

Names are compared without regard to case. A word may stand for several names, if the kit says so. Order is of no
matter: a task is a set.

Of most kits a task is a choice between its own names. Of others, all tasks share one head, such as no and yes, and the
names say what is asked: `only two, odd`. Of detectors, a task is what a thing must be, with or without commas:

    red sword                things that are both
    red, blue, sword         swords that are red or blue

Source: NN-Factory (Xu et al. 2023) has all three: classes of CIFAR-100, questions with one head for all (NumVQA), and
things with attributes (AttrOD).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..errors import FitError
from ..plan.table import nearest

ALL, ALL_BUT = "all", "all but "


@dataclass(frozen=True)
class Task:
    """A set of parts, and the answers to choose between.

    Attributes:
        parts: Their numbers in the space, ascending: what the assembler is told.
        answers: The outputs that a model for it has, ascending; at least two, but of a detector.
    """

    parts: tuple[int, ...]
    answers: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """The parts that tasks are made of.

    Attributes:
        names: Of the parts; of the classifier's outputs in their order, if tasks are choices.
        words: Names that stand for several of them.
        shared: What the one head that all tasks share answers; empty if tasks are choices between their own names.
        groups: With a shared head, names of which a task has at least one from each group. Of things, all names, each
            in one group: a thing must be one of those named of a group, and of every group that is named.
        things: Tasks are things to be found in pictures.

    Raises:
        FitError: two names differ in case alone, no words would ask for one, a word stands for what is no name, or
            names of things are not each in one group.
    """

    names: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    things: bool = False

    def __post_init__(self) -> None:
        many = Counter(name.casefold() for name in self.names)
        if alike := [name for name in self.names if many[name.casefold()] > 1]:
            raise FitError(f"names differ by more than case: {', '.join(alike)} do not. Rename all but one.")
        strange = [(word, name) for word, few in self.words.items() for name in few if name not in self.names]
        if strange:
            raise FitError([f"the word {word!r} stands for {name!r}, which is no name." for word, name in strange])
        advice = {name: unaskable(name) for name in (*self.names, *self.words)}
        if mute := {name: how for name, how in advice.items() if how}:
            raise FitError([f"nobody can ask for the name {name!r}: {how}." for name, how in mute.items()])
        grouped = sorted(name for group in self.groups for name in group)
        if self.things and (grouped != sorted(self.names) or self.shared):
            raise FitError("names of things: put each into one group, such as classes or colours; share no head.")

    @cached_property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        """The parts that each name or word stands for, whatever its case."""
        alone = {name.casefold(): (number,) for number, name in enumerate(self.names)}
        several = {word.casefold(): tuple(self.names.index(name) for name in few) for word, few in self.words.items()}
        return several | alone

    def numbers_of(self, names: Sequence[str]) -> set[int]:
        """The parts that these names stand for.

        Raises:
            FitError: some are unknown; every one is told.
        """
        known = ", ".join([*self.names, *self.words])
        unknown = [name for name in names if name.casefold() not in self.numbers]
        if unknown:
            raise FitError(
                [f"there is no {name!r}.{nearest(name.casefold(), self.numbers)} Known: {known}." for name in unknown]
            )
        return {number for name in names for number in self.numbers[name.casefold()]}

    def task(self, names: Sequence[str]) -> Task:
        """The task of these parts.

        Raises:
            FitError: a name is unknown, or they are no task.
        """
        return self.task_of(self.numbers_of(names))

    def read(self, text: str) -> Task:
        """The task that a person's words name.

        Raises:
            FitError: they are not of the grammar, or name what does not exist.
        """
        words, everything = text.strip(), set(range(len(self.names)))
        if words.casefold() == ALL:
            return self.task_of(everything)
        taken = words[len(ALL_BUT) :] if words.casefold().startswith(ALL_BUT) else None
        names = [name.strip() for name in (words if taken is None else taken).split(",")]
        if self.things:
            names = [name for phrase in names for name in self.apart(phrase)]
        if not all(names):
            raise FitError(
                f"task {text!r}: a name is missing. Write names with commas between, 'all', or 'all but' and names."
            )
        found = self.numbers_of(names)
        return self.task_of(found if taken is None else everything - found)

    def apart(self, phrase: str) -> list[str]:
        """The names in a phrase without commas, the longest that are known; what is not known is one word."""
        words, names = phrase.split(), []
        while words:
            some = (" ".join(words[:count]) for count in range(len(words), 1, -1))
            name = next((name for name in some if name.casefold() in self.numbers), words[0])
            names.append(name)
            words = words[len(name.split()) :]
        return names or [phrase]

    def spoken(self, task: Task) -> tuple[str, ...]:
        """The names of a task's parts."""
        return tuple(self.names[number] for number in task.parts)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the outputs of the supernet are called."""
        return self.shared or self.names

    def task_of(self, parts: set[int]) -> Task:
        """The task of these parts.

        Raises:
            FitError: a choice between fewer than two, a thing that is nothing, or a question that leaves out a group.
        """
        own = tuple(sorted(parts))
        if self.things:
            if not own:
                raise FitError("a task is a thing to be found: name what it must be.")
            return Task(own, own)
        if not self.shared:
            if len(own) < 2:
                raise FitError(f"a task is a choice between two answers or more, not {len(own)}.")
            return Task(own, own)
        named = {self.names[number] for number in own}
        if lacking := [group for group in self.groups if named.isdisjoint(group)]:
            raise FitError([f"a task here names at least one of: {', '.join(group)}." for group in lacking])
        return Task(own, tuple(range(len(self.shared))))

    def groups_of(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Which of these names are of one group, by their places, group by group; none is empty."""
        found = (tuple(names.index(name) for name in group if name in names) for group in self.groups)
        return tuple(group for group in found if group)


def unaskable(name: str) -> str | None:
    """What to do about a name that no words would ask for; None if some do."""
    if not name.strip():
        return "leave it out"
    if name != " ".join(name.split()):
        return "write it without spaces around it, and with single ones inside"
    if "," in name:
        return "write it without commas, which stand between names"
    if name.casefold() == ALL or name.casefold().startswith(ALL_BUT):
        return f"call it otherwise, for {ALL!r} asks for everything"
    return None


def codes_of(tasks: Sequence[Task], parts: int) -> Tensor:
    """(tasks, parts): 1 where a part belongs to a task."""
    codes = torch.zeros(len(tasks), parts)
    for row, task in enumerate(tasks):
        codes[row, list(task.parts)] = 1.0
    return codes


def groups_mask(groups: Sequence[Sequence[int]], names: int) -> Tensor:
    """(groups, names): 1 where a name is of a group."""
    mask = torch.zeros(len(groups), names)
    for row, group in enumerate(groups):
        mask[row, list(group)] = 1.0
    return mask
