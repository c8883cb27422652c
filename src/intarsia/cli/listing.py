"""`intarsia list`: what there is."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table


class What(StrEnum):
    models = "models"
    plans = "plans"
    planners = "planners"
    modules = "modules"
    kits = "kits"


def listing(what: What | None = typer.Argument(None, help="Which kind of thing; all if none is named.")) -> None:
    """List the models, plans, planners, modules and kits that come with intarsia."""
    from rich.console import Console

    for kind in [what] if what else What:
        Console().print(table_of(kind))


def table_of(what: What) -> "Table":
    """What there is of a kind, a row each."""
    from rich.table import Table

    from ..lighten import LOOKING, PLANNERS
    from ..plan import load_plan
    from ..plan.pattern import rows_of
    from ..shipped import MODELS, kit_folder, kit_names, model_names, modules_of, plan_file, plan_names
    from .reading import parts_known

    match what:
        case What.models:
            table = Table("model", "folder")
            for name in model_names():
                table.add_row(name, str(MODELS / name))
        case What.plans:
            table = Table("plan", "rows", "what it does", "for")
            for name in plan_names():
                plan = load_plan(plan_file(name))
                rows: dict[tuple[str, str], set[int]] = {}
                for rule in plan.rules:
                    for (sites, _), before in rows.items():
                        if sites == rule.sites:
                            before -= set(rows_of(rule.rows, plan.rows))  # the last rule wins
                    action = type(rule.do).__name__.lower()
                    rows.setdefault((rule.sites, action), set()).update(rows_of(rule.rows, plan.rows))
                does = "; ".join(f"{sites}: {action} in {len(some)}" for (sites, action), some in rows.items() if some)
                does = str(plan.made_by.get("shape", does))  # what a person wrote of it says more
                table.add_row(name, str(plan.rows), does, str(plan.made_by.get("for", plan.made_by.get("model", ""))))
        case What.modules:
            table = Table("module", "model", "file")
            for name in model_names():
                for module, path in modules_of(MODELS / name).items():
                    table.add_row(module, name, str(path))
        case What.kits:
            table = Table("kit", "tasks are made of", "trained on")
            for name in kit_names():
                card = json.loads((kit_folder(name) / "kit.json").read_text())
                known = parts_known(card["space"]["names"], card["space"]["words"])
                table.add_row(name, known, str(card["card"].get("trained on", "")))
        case What.planners:
            table = Table("planner", "what it does", "source")
            for planner in (*PLANNERS, *LOOKING):
                table.add_row(planner.name, planner.summary, planner.source)
    return table
