"""Parameters that learn at another rate than the rest, as their objective says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn


@dataclass(frozen=True)
class Group:
    """Parameters that learn together.

    Attributes:
        factor: What the schedule's rate is multiplied by.
        weight_decay: Instead of the schedule's.
    """

    parameters: Sequence[nn.Parameter]
    factor: float
    weight_decay: float


@runtime_checkable
class Grouped(Protocol):
    """An objective some of whose parameters learn in a way of their own."""

    def learning_groups(self) -> Iterable[Group]:
        """The exceptions; parameters that are in no group follow the schedule."""
        ...


def optimizer_groups(
    objective: nn.Module, trained: Mapping[str, nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """What an optimizer is built from: the trained parameters that follow the schedule, then the exceptions."""
    known = {id(value) for value in trained.values()}
    groups = list(objective.learning_groups()) if isinstance(objective, Grouped) else []
    apart = {id(value) for group in groups for value in group.parameters}
    plain = [value for value in trained.values() if id(value) not in apart]
    every = [Group(plain, 1.0, weight_decay), *groups]
    return [
        {"params": params, "factor": group.factor, "weight_decay": group.weight_decay}
        for group in every
        if (params := [value for value in group.parameters if id(value) in known])
    ]
