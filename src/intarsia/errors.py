"""Everything that intarsia refuses, and why. Each message says what, where and what to do.

IntarsiaError
├── PlanError (ValueError)      the plan is wrong, whatever the model    carries .problems, all of them
├── FitError (ValueError)       a good plan, a model it was not made for
├── RigError (RuntimeError)     more calls than rows; already under a plan
├── HostNotFrozen (ValueError)  training a module would also change the model that it plugs into
├── OverBudget                  no model of this host fits               carries .cheapest, what the smallest costs
├── OutputExists                a file or folder would be overwritten
├── Unfinished                  a training was stopped before its last step
└── CardError (ValueError)      a file is not what it says it is
"""

from collections.abc import Mapping, Sequence


class IntarsiaError(Exception):
    """The root of the tree: catch this to catch whatever intarsia refuses."""


class PlanError(IntarsiaError, ValueError):
    """A plan that no model could obey. `problems` lists every complaint, not the first."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class FitError(IntarsiaError, ValueError):
    """A plan, a file or an input that was made for another model. `problems` lists every complaint."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class RigError(IntarsiaError, RuntimeError):
    """A live plan and the calls that reach it do not agree."""


class HostNotFrozen(IntarsiaError, ValueError):
    """Training a module would also change the model that it plugs into, or another module's ground."""


class OverBudget(IntarsiaError):
    """No model that can be made fits the budget. `cheapest` says what the cheapest one costs, by name."""

    def __init__(self, problem: str, cheapest: Mapping[str, float]) -> None:
        self.cheapest = dict(cheapest)
        super().__init__(problem)


class OutputExists(IntarsiaError):
    """Something stands where output would go; nothing was written."""


class Unfinished(IntarsiaError):
    """A training was stopped before its last step, so what comes after it was not begun. The same call goes on."""


class CardError(IntarsiaError, ValueError):
    """A saved file or folder is not what it says it is."""
