"""`intarsia list`: what there is."""

from enum import StrEnum

import typer


class What(StrEnum):
    models = "models"
    plans = "plans"
    planners = "planners"
    modules = "modules"


def listing(what: What = typer.Argument(..., help="Which kind of thing.")) -> None:
    """List the models, plans, planners and modules that come with intarsia."""
    from rich.console import Console
    from rich.table import Table

    from ..lighten import LOOKING, PLANNERS
    from ..plan import load_plan
    from ..plan.pattern import rows_of
    from ..shipped import MODELS, model_names, modules_of, plan_file, plan_names

    match what:
        case What.models:
            table = Table("model", "folder")
            for name in model_names():
                table.add_row(name, str(MODELS / name))
        case What.plans:
            table = Table("plan", "rows", "what it does")
            for name in plan_names():
                plan = load_plan(plan_file(name))
                rows: dict[str, set[int]] = {}
                for rule in plan.rules:
                    rows.setdefault(f"{rule.sites}: {type(rule.do).__name__.lower()}", set()).update(
                        rows_of(rule.rows, plan.rows)
                    )
                table.add_row(name, str(plan.rows), "; ".join(f"{what} in {len(some)}" for what, some in rows.items()))
        case What.modules:
            table = Table("module", "model", "file")
            for name in model_names():
                for module, path in modules_of(MODELS / name).items():
                    table.add_row(module, name, str(path))
        case What.planners:
            table = Table("planner", "what it does", "source")
            for planner in (*PLANNERS, *LOOKING):
                table.add_row(planner.name, planner.summary, planner.source)
    Console().print(table)
