"""Assemble the model that a plan of one row describes: some sites left out, others filled from other models."""

from collections.abc import Mapping

from torch import nn

from ..errors import PlanError
from ..plan import Keep, Plan, Skip, Table, Use, resolve
from .contract import Host, UnitHost
from .lineage import Lineage


def bake(
    plan: Plan,
    host: Host | UnitHost,
    others: Mapping[str, Host] | None = None,
    *,
    ancestry: Mapping[str, str] | None = None,
) -> tuple[nn.Module, Lineage]:
    """Leave out what a one-row plan skips, and take from other models what it uses; the hosts stay as they are.

    Of a host with units, those that the plan keeps are cut out of the weights: nothing of the others is left, nor of
    blocks that it skips.

    Args:
        others: The models that `Use` names.
        ancestry: For a host that was itself cut out of another model: each of its tensors' names there, by which
            other models of that one's shape are read. See `lighten.record.ancestry_of`.

    Returns:
        The assembled model, and for each of its tensors where it came from.

    Raises:
        PlanError: the plan has more than one row, or reuses something.
        FitError: what is left is not a model of this family, or a source does not fit.
    """
    if plan.rows != 1:
        raise PlanError(f"a plan of {plan.rows} rows cannot be baked: it says different things at different calls.")
    others = dict(others or {})
    table = resolve(plan, host.outline, others)
    cells = table.cells[0]
    if isinstance(host, UnitHost):
        kept = {
            path: action.units if isinstance(action, Keep) else ()
            for path, action in cells.items()
            if isinstance(action, Keep | Skip)
        }
        smaller, lineage = host.narrowed(kept)
        lineage.fill(smaller, host.module)
        return smaller.train(host.module.training), lineage
    other = next((path for path, action in cells.items() if not isinstance(action, (Skip, Use))), None)
    if other is not None:
        raise PlanError(f"{other!r} is neither skipped nor used: a baked model has no memory.")
    smaller, origins = host.without(tuple(path for path, action in cells.items() if isinstance(action, Skip)))
    lineage = Lineage(origins, sources_of(table, origins), ancestry=ancestry or {})
    lineage.fill(smaller, host.module, {name: model.module for name, model in others.items()})
    return smaller.train(host.module.training), lineage


def sources_of(table: Table, origins: Mapping[str, str]) -> dict[str, str]:
    """For each tensor that comes from another model, that model's name; the innermost site decides."""
    asked = [("", name) for name in table.answering if name is not None]
    for path, action in table.cells[0].items():
        if isinstance(action, Use):
            site = table.outline.by_path[path]
            modules = (path,) if site.level in ("unit", "subunit") else site.parts
            asked += [(f"{module}.", action.name) for module in modules]
    asked.sort(key=lambda one: len(one[0]))
    found: dict[str, str] = {}
    for prefix, name in asked:
        found.update({tensor: name for tensor, origin in origins.items() if origin.startswith(prefix)})
    return found
