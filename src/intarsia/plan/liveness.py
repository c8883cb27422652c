"""What really has to be computed in one row.

Units form a graph by whom they read. Starting at the host's output and going backwards, a unit that answers
from memory is not entered: whatever fed only it is dead and is never computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .actions import Action, Reuse, Skip
from .outline import Outline, Site


@dataclass(frozen=True)
class Flow:
    """One row, settled.

    Attributes:
        computed: Units that run (their own part of the work; subunits are listed apart).
        subunits: Subunits that run.
        recalled: Units and subunits that somebody live reads and that answer from memory, and how.
        passed: Units and subunits skipped that somebody live reads.
    """

    computed: frozenset[str]
    subunits: frozenset[str]
    recalled: Mapping[str, Reuse]
    passed: frozenset[str]

    @cached_property
    def running(self) -> frozenset[str]:
        return self.computed | self.subunits


def flow(outline: Outline, cells: Mapping[str, Action]) -> Flow:
    """Settle one row: which sites run, which answer from memory, which are dead."""
    reused: dict[str, Reuse] = {}
    skipped: set[str] = set()
    for path, action in cells.items():
        site = outline.by_path[path]
        if isinstance(action, Reuse):
            reused.update(dict.fromkeys(answering_units(outline, site, action), action))
        elif isinstance(action, Skip):
            skipped.update((path,) if site.level in ("unit", "subunit") else site.parts)

    computed: set[str] = set()
    recalled: dict[str, Reuse] = {}
    passed: set[str] = set()
    stack, seen = [outline.root], {outline.root}
    while stack:
        path = stack.pop()
        if path in reused:
            recalled[path] = reused[path]
            if reused[path].carry == "output":
                continue
        elif path in skipped:
            passed.add(path)
        else:
            computed.add(path)
        for source in outline.by_path[path].reads:
            if source not in seen:
                seen.add(source)
                stack.append(source)

    subunits = {part for path in computed for part in outline.by_path[path].parts}
    recalled |= {part: reused[part] for part in subunits & reused.keys()}
    passed |= subunits & skipped - reused.keys()
    return Flow(frozenset(computed), frozenset(subunits - reused.keys() - skipped), recalled, frozenset(passed))


def answering_units(outline: Outline, site: Site, action: Reuse) -> tuple[str, ...]:
    """The units or subunits that answer from memory when a site is reused.

    With `output`, a group answers where it is left: its inside is dead. With `residual`, every unit of it that
    has an identity path answers for itself, and the others run.
    """
    alone = site.level in ("unit", "subunit")
    if action.carry == "residual":
        units = (site.path,) if alone else site.parts
        return tuple(path for path in units if outline.by_path[path].shortcut_macs is not None)
    return (site.path,) if alone else outline.leaving(site.parts)
