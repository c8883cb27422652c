"""Make the smaller model that a plan of one row describes."""

from torch import nn

from ..errors import PlanError
from ..plan import Plan, Skip, resolve
from .contract import Host
from .lineage import Lineage


def bake(plan: Plan, host: Host) -> tuple[nn.Module, Lineage]:
    """Leave out what a one-row plan skips; the host itself stays as it is.

    Returns:
        The smaller model, and for each of its tensors where it came from.

    Raises:
        PlanError: the plan has more than one row, or does something else than skip.
        FitError: what is left is not a model of this family.
    """
    if plan.rows != 1:
        raise PlanError(f"a plan of {plan.rows} rows cannot be baked: it says different things at different calls.")
    cells = resolve(plan, host.outline).cells[0]
    other = next((path for path, action in cells.items() if not isinstance(action, Skip)), None)
    if other is not None:
        raise PlanError(f"{other!r} is not skipped: a baked model has no memory and no second model.")
    smaller, origins = host.without(tuple(cells))
    lineage = Lineage(origins)
    lineage.fill(smaller, host.module)
    return smaller.train(host.module.training), lineage
