"""A plan resolved against an outline: every cell explicit, every problem reported at once."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import FitError, PlanError
from .actions import Action, Keep, Reuse, Run, Skip, Use
from .liveness import Flow, answering_units, flow
from .outline import HOST, Outline
from .pattern import rows_of, sites_of
from .plan import Plan

PASS_IT = " Pass it: others=, or in the shell --other NAME=MODEL (--source where a model is assembled)."


@dataclass(frozen=True)
class Table:
    """Rows are calls of the host, columns are sites, cells are actions.

    Attributes:
        plan: The plan it was resolved from.
        outline: The host's.
        cells: For each row, the actions of the sites that do not simply run.
        answering: For each row, the name of the model that answers instead of the host, or None.
    """

    plan: Plan
    outline: Outline
    cells: tuple[dict[str, Action], ...]
    answering: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """For each row, the first row that reads the same: a uniform plan has two kinds."""
        first: dict = {}
        return tuple(
            first.setdefault((self.answering[row], frozenset(cells.items())), row)
            for row, cells in enumerate(self.cells)
        )

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """For each row, what runs, what is recalled and what is dead."""
        settled = {kind: flow(self.outline, self.cells[kind]) for kind in set(self.kinds)}
        return tuple(settled[kind] for kind in self.kinds)

    @cached_property
    def told(self) -> tuple[bool, ...]:
        """For each row, whether the host's own answer comes from memory, so that the host is not entered."""
        root = self.outline.root
        return tuple(
            name is None and root in settled.recalled and not settled.computed
            for name, settled in zip(self.answering, self.flows, strict=True)
        )

    @cached_property
    def kept(self) -> tuple[Mapping[str, int], ...]:
        """For each row, the sites whose answers are remembered once it is over, and how many of the last ones."""
        wanted: dict[str, int] = {}
        after: list[dict[str, int]] = []
        for row in reversed(range(len(self))):
            after.append(dict(wanted))
            if self.answering[row] is None:
                settled = self.flows[row]
                for path in settled.running & wanted.keys():
                    wanted[path] -= 1
                    if wanted[path] == 0:
                        del wanted[path]
                for path, action in settled.recalled.items():
                    wanted[path] = max(wanted.get(path, 0), action.forecast.depth)
        computed: dict[str, int] = {}
        kept = []
        for row, wished in enumerate(reversed(after)):
            if self.answering[row] is None:
                for path in self.flows[row].running:
                    computed[path] = computed.get(path, 0) + 1
            held = {path: min(depth, computed.get(path, 0)) for path, depth in wished.items()}
            kept.append({path: depth for path, depth in held.items() if depth})
        return tuple(kept)

    @cached_property
    def residual(self) -> frozenset[str]:
        """The sites of which what they add to their input is remembered, rather than their output."""
        return frozenset(
            path for settled in self.flows for path, action in settled.recalled.items() if action.carry == "residual"
        )


def resolve(plan: Plan, outline: Outline, others: Iterable[str] = ()) -> Table:
    """Settle every cell of a plan for a host.

    Args:
        others: Names of the models that `Use` may call.

    Raises:
        PlanError: the plan contradicts itself; all problems are listed.
        FitError: the plan is for another host, or names what this host has not.
    """
    if plan.host is not None and plan.host != outline.shape_hash:
        raise FitError(
            f"the plan is for the host {plan.host}, this one is {outline.shape_hash} ({outline.host}). "
            "Make the plan anew for this host, or remove its 'host' line if the sites mean the same."
        )
    paths = [site.path for site in outline.sites]
    known = set(others)
    wrong: list[str] = []
    misfit: list[str] = []
    cells: list[dict[str, Action]] = [{} for _ in range(plan.rows)]
    answering: list[str | None] = [None] * plan.rows

    for number, rule in enumerate(plan.rules, start=1):
        try:
            rows = rows_of(rule.rows, plan.rows)
            sites = sites_of(rule.sites, paths)
        except PlanError as error:
            wrong += [f"rule {number}: {problem}" for problem in error.problems]
            continue
        for name in (alternative.strip() for alternative in rule.sites.split("|")):
            if not sites_of(name, paths):
                misfit.append(f"rule {number}: no site matches {name!r}.{nearest(name, [HOST, *paths])}")
        for path in sites:
            complaint = refusal(rule.do, path, outline, known, plan.rows)
            if complaint:
                misfit.append(f"rule {number}: {complaint}")
                break
        else:
            for row in sorted(rows):
                torn_from = place(rule.do, sites, cells[row], outline)
                if torn_from is not None:
                    part, group = torn_from
                    wrong.append(
                        f"rule {number}: {part!r} lies inside {group!r}, which an earlier rule reuses or skips whole. "
                        "Name its layers or units there instead."
                    )
                    break
                if HOST in sites:
                    answering[row] = rule.do.name if isinstance(rule.do, Use) else None

    if misfit and not wrong:
        raise FitError(misfit)
    if wrong:
        raise PlanError([*wrong, *misfit])
    table = Table(plan, outline, tuple(cells), tuple(answering))
    both = {path for settled in table.flows for path, action in settled.recalled.items() if action.carry == "output"}
    if torn := sorted(both & table.residual):
        raise PlanError(f"{torn[0]!r} is reused with carry 'output' in some rows and 'residual' in others. Choose one.")
    early = first_reuse_of_nothing(table)
    if early is not None:
        raise PlanError(f"row {early[0]} reuses {early[1]!r} before any row has computed it. Row 0 must run it.")
    return table


def place(action: Action, sites: Iterable[str], cells: dict[str, Action], outline: Outline) -> tuple[str, str] | None:
    """Write one rule into one row: what is said of a site holds for all inside it, over what was said before.

    Returns:
        A part that should run, or keep units, and the reused or skipped group that holds it, if there is such a pair.
    """
    for path in sites:
        if path == HOST:
            if isinstance(action, Run | Reuse):
                cells.clear()
            if isinstance(action, Reuse):  # its answer is that of its last unit
                cells[outline.root] = action
            continue
        for inner in outline.within[path] & cells.keys():
            del cells[inner]
        cells.pop(path, None)
        if isinstance(action, Run | Keep):
            holding = (other for other, said in cells.items() if not isinstance(said, Keep))
            group = next((other for other in holding if path in outline.within[other]), None)
            if group is not None:
                return path, group
        if not isinstance(action, Run):
            cells[path] = action
    return None


def refusal(action: Action, path: str, outline: Outline, others: set[str], rows: int) -> str | None:
    """Why an action cannot stand at a site, or None."""
    if isinstance(action, Use):
        if path != HOST and rows > 1:
            return f"'use' replaces the host, not {path!r}, but in a plan of one row. Write 'sites: host'."
        if action.name not in others:
            return f"no model is called {action.name!r}.{nearest(action.name, others) or PASS_IT}"
    elif isinstance(action, Keep):
        return refused_units(action, path, outline, rows)
    elif path == HOST and isinstance(action, Skip):
        return "the host itself can run, be reused or be replaced, not skipped."
    elif path == HOST:
        residual = isinstance(action, Reuse) and action.carry == "residual"
        return "the host adds to no input. Reuse it with carry 'output'." if residual else None
    elif isinstance(action, Reuse) and outline.by_path[path].level in ("pair", "stage"):
        return f"{path!r} can be cut out of a baked model; to reuse features name its layers or units."
    elif isinstance(action, Reuse):
        if not answering_units(outline, outline.by_path[path], action):
            return f"{path!r} has no path around it, so it adds to no input. Reuse it with carry 'output'."
    elif isinstance(action, Skip):
        contract = outline.by_path[path].skip
        if contract == "never":
            return f"{path!r} cannot be skipped: what comes after needs its shape."
        if contract == "cut" and rows > 1:
            return f"{path!r} can only be cut out by baking a plan of one row; this one has {rows}."
    return None


def refused_units(action: Keep, path: str, outline: Outline, rows: int) -> str | None:
    """Why a site cannot keep these units, or None."""
    if rows > 1:
        return f"'keep' is for plans of one row, which are baked; this one has {rows}."
    units = outline.by_path[path].units if path != HOST else 0
    if not units:
        known = [site.path for site in outline.sites if site.units]
        return f"{path!r} has no units to keep.{nearest(path, known)}"
    if action.units[-1] >= units:
        return f"{path!r} has no unit {action.units[-1]}: they are 0 to {units - 1}."
    return None


def first_reuse_of_nothing(table: Table) -> tuple[int, str] | None:
    """The first row that would recall what was never computed."""
    computed: set[str] = set()
    for row in range(len(table)):
        if table.answering[row] is not None:
            continue
        missing = table.flows[row].recalled.keys() - computed
        if missing:
            return row, sorted(missing)[0]
        computed |= table.flows[row].running
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence with the known names most like this one, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=2, cutoff=0.5)
    return f" Nearest: {', '.join(repr(match) for match in close)}." if close else ""
