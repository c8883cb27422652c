"""Everything that can happen at a site. The set is closed: a new action is a design decision.

A cell of a plan's table holds one of these. What *not running* means at a site is the host's affair (its
contract), so the actions themselves carry next to nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Compute the site, as the model alone would."""


@dataclass(frozen=True)
class Reuse:
    """Answer with what the site last computed (A-SDM's feature inheritance, output carried)."""


@dataclass(frozen=True)
class Skip:
    """Do without the site: its contract says whether its input passes, nothing is added, or it is cut out."""


@dataclass(frozen=True)
class Use:
    """Let another model of the same kind answer in its place. Only the host itself can be replaced."""

    name: str


Action = Run | Reuse | Skip | Use
