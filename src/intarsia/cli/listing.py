"""`intarsia list`: what there is."""

from enum import StrEnum

import typer


class What(StrEnum):
    models = "models"
    plans = "plans"
    planners = "planners"


def listing(what: What = typer.Argument(..., help="Which kind of thing.")) -> None:
    """List the models, plans and planners that come with intarsia."""
    from rich.console import Console
    from rich.table import Table

    from ..lighten import PLANNERS, SEARCH
    from ..plan import load_plan
    from ..shipped import MODELS, model_names, plan_file, plan_names

    match what:
        case What.models:
            table = Table("model", "folder")
            for name in model_names():
                table.add_row(name, str(MODELS / name))
        case What.plans:
            table = Table("plan", "rows", "what it does")
            for name in plan_names():
                plan = load_plan(plan_file(name))
                table.add_row(name, str(plan.rows), "; ".join(f"{rule.sites} at {rule.rows}" for rule in plan.rules))
        case What.planners:
            table = Table("planner", "what it does", "source")
            for planner in (*PLANNERS, SEARCH):
                table.add_row(planner.name, planner.summary, planner.source)
    Console().print(table)
