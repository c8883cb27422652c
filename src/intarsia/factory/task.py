"""Tasks: which answers a model shall choose between, from a person's words.

    shoe, bag, coat          these
    all                      every one that the supernet knows
    all but shirt, coat      every other

Names are compared without regard to case. A word may stand for several answers, if the kit says so. Order is of no
matter: a task is a set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import FitError
from ..plan.table import nearest

ALL_BUT = "all but "


@dataclass(frozen=True)
class Task:
    """A set of answers to choose between.

    Attributes:
        answers: Their numbers in the space, ascending; at least two.
    """

    answers: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """The answers that a supernet knows.

    Attributes:
        names: Of the answers, in the order of the classifier's outputs.
        words: Names that stand for several of them.
    """

    names: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        """The answers that each name or word stands for, whatever its case."""
        alone = {name.casefold(): (number,) for number, name in enumerate(self.names)}
        several = {word.casefold(): tuple(self.names.index(name) for name in few) for word, few in self.words.items()}
        return several | alone

    def numbers_of(self, names: Sequence[str]) -> set[int]:
        """The answers that these names stand for.

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
        """The task of choosing between these.

        Raises:
            FitError: a name is unknown, or there are fewer than two answers.
        """
        return task_of(self.numbers_of(names))

    def read(self, text: str) -> Task:
        """The task that a person's words name.

        Raises:
            FitError: they are not of the grammar, or name what does not exist.
        """
        words, everything = text.strip(), set(range(len(self.names)))
        if words.casefold() == "all":
            return task_of(everything)
        taken = words[len(ALL_BUT) :] if words.casefold().startswith(ALL_BUT) else None
        names = [name.strip() for name in (words if taken is None else taken).split(",")]
        if not all(names):
            raise FitError(
                f"task {text!r}: a name is missing. Write names with commas between, 'all', or 'all but' and names."
            )
        found = self.numbers_of(names)
        return task_of(found if taken is None else everything - found)

    def spoken(self, task: Task) -> tuple[str, ...]:
        """The names of a task's answers."""
        return tuple(self.names[number] for number in task.answers)


def task_of(answers: set[int]) -> Task:
    """The task of choosing between these answers.

    Raises:
        FitError: there are fewer than two.
    """
    if len(answers) < 2:
        raise FitError(f"a task is a choice between two answers or more, not {len(answers)}.")
    return Task(tuple(sorted(answers)))
