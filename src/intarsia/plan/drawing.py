"""The table as text: sites down, rows across. The picture that explains a plan."""

from collections.abc import Mapping

from .actions import Action, Keep, Reuse, Run, Skip, Use
from .bill import price
from .outline import HOST, Outline
from .pattern import rows_of
from .plan import Plan
from .table import Table

RUN, REUSE, SKIP, DEAD, PART = "#", ".", "-", " ", "+"
LEGEND = "# run   . reuse   - skip   blank: nobody reads it, so it is not computed"


def letters(names: list[str]) -> dict[str, str]:
    """One letter for each model that answers instead of the host."""
    return {name: chr(ord("a") + number) for number, name in enumerate(sorted(names))}


def ruler(name_width: int, rows: int) -> str:
    """The numbers of every tenth row."""
    return " " * name_width + "".join(f"{row:<10}" for row in range(0, rows, 10)).rstrip()


def lines(marks: dict[str, str], legend: str) -> str:
    """Names and marks, aligned under a ruler."""
    width = max(len(name) for name in marks) + 2
    rows = len(next(iter(marks.values())))
    return "\n".join(
        [ruler(width, rows), *(f"{name:<{width}}{cells}".rstrip() for name, cells in marks.items()), legend]
    )


def mark_of(action: Action, known: dict[str, str]) -> str:
    match action:
        case Run():
            return RUN
        case Reuse():
            return REUSE
        case Skip():
            return SKIP
        case Use(name):
            return known[name]
        case Keep():
            return PART


def draw_rules(plan: Plan) -> str:
    """A plan without a host: one line for each site pattern, as its rules stand."""
    known = letters(list({rule.do.name for rule in plan.rules if isinstance(rule.do, Use)}))
    marks = {HOST: [RUN] * plan.rows}
    for rule in plan.rules:
        if rule.sites == "**" and isinstance(rule.do, Run):
            for cells in marks.values():
                for row in rows_of(rule.rows, plan.rows):
                    cells[row] = RUN
            continue
        cells = marks.setdefault(rule.sites, [RUN] * plan.rows)
        for row in rows_of(rule.rows, plan.rows):
            cells[row] = mark_of(rule.do, known)
    legend = ", ".join([LEGEND.split("   blank")[0], *(f"{letter} = {name}" for name, letter in known.items())])
    return lines({name: "".join(cells) for name, cells in marks.items()}, legend)


def draw(table: Table, *, level: str = "block", others: Mapping[str, Outline] | None = None) -> str:
    """A resolved plan: what really runs, with the share of MACs of each row's kind.

    Args:
        level: `block` for one line a block, `unit` for one line a unit.
        others: Outlines of the models that answer some calls; without them there is no price.
    """
    outline = table.outline
    if len(table) == 1 and any(site.units for site in outline.sites):
        return draw_units(table)
    known = letters(list({name for name in table.answering if name is not None}))
    entered = [REUSE if told else RUN for told in table.told]
    marks = {HOST: "".join(known[name] if name else mark for name, mark in zip(table.answering, entered, strict=True))}
    sites = outline.of_level("unit") if level == "unit" else outline.of_level("block")
    for site in sites:
        units = frozenset(site.parts if site.level == "block" else (site.path,))
        cells = []
        for row in range(len(table)):
            settled = table.flows[row]
            answers = units & (settled.recalled.keys() | settled.passed)
            within = {part for unit in units for part in outline.by_path[unit].parts} if answers != units else set()
            if table.answering[row] is not None or table.told[row] or not (units & settled.computed or answers):
                cells.append(DEAD)
            elif units & settled.computed:
                cells.append(RUN if units <= settled.computed and within <= settled.subunits else PART)
            else:
                cells.append(REUSE if units & settled.recalled.keys() else SKIP)
        marks[site.path] = "".join(cells)
    legend = LEGEND + ("   + run in part" if any("+" in cells for cells in marks.values()) else "")
    legend += "".join(f"   {letter} = {name}" for name, letter in known.items())
    if not known.keys() <= (others or {}).keys():
        return lines(marks, legend)
    return f"{lines(marks, legend)}\n{price(table, others)}"


def draw_units(table: Table) -> str:
    """A plan of one row that keeps units: a line a site, a mark for every unit. Of what is skipped none is kept."""
    cells = table.cells[0]
    skipped = [path for path, action in cells.items() if isinstance(action, Skip)]
    gone = {path for block in skipped for path in (block, *table.outline.within[block])}
    sites = [site for site in table.outline.sites if site.units]
    width = max(len(site.path) for site in sites) + 2
    drawn = []
    for site in sites:
        action = cells.get(site.path)
        kept = set(action.units) if isinstance(action, Keep) else set(range(site.units))
        kept -= kept if site.path in gone else set()
        marks = "".join(RUN if unit in kept else REUSE for unit in range(site.units))
        drawn.append(f"{site.path:<{width}}{marks}  {len(kept)} of {site.units}")
    return "\n".join([*drawn, "# kept   . left out", str(price(table))])
