"""Refusals of the factory in the words of the shell: by options, in the units that these are given in."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OverBudget
from ..factory import Budget
from ..factory.budget import UNITS

OPTIONS = {"seconds": "--milliseconds"}  # all others are called as what they bound


@contextmanager
def told_by_options(budget: Budget) -> Iterator[None]:
    """What is over a budget inside the block is told by the options that bound it."""
    try:
        yield
    except OverBudget as refusal:
        over = budget.exceeded(refusal.cheapest)
        costs = ", ".join(complaint(name, refusal.cheapest[name], budget.bounds[name]) for name in over)
        text = f"over budget: the cheapest model for this task costs {costs}."
        if rest := [option(name) for name in budget.bounds if name not in over]:
            beyond = " and ".join(map(option, over))
            text += f" {' and '.join(rest)} can be met, {beyond} cannot, whatever else is allowed."
        raise OverBudget(text, refusal.cheapest) from None


def complaint(name: str, cost: float, bound: float) -> str:
    """What a cost is, and what it was to be."""
    if name == "seconds":
        return f"{1000 * cost:.6g} ms and not {1000 * bound:.6g}"
    return f"{cost:.6g} {UNITS[name]} and not {bound:.6g}"


def option(name: str) -> str:
    """The option that bounds a cost."""
    return OPTIONS.get(name, f"--{name}")
