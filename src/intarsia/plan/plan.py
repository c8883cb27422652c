"""A plan: ordered rules, each saying what to do at some sites in some rows; the last rule that matches wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import PlanError
from .actions import Action


@dataclass(frozen=True)
class Rule:
    """In these rows, at these sites, do this. See `pattern.py` for the two grammars."""

    rows: str
    sites: str
    do: Action


@dataclass(frozen=True)
class Plan:
    """A table of what a host does, written as rules.

    Attributes:
        rows: Calls of the host in one run, which is not always the number of sampler steps.
        rules: Read downwards; the last one that matches a cell wins. Where none matches, the site runs.
        host: The shape hash of the host it was made for, or None for any host that has the sites.
        made_by: Where it comes from. For people; nothing reads it when running.

    Raises:
        PlanError: `rows` is not a positive number.
    """

    rows: int
    rules: tuple[Rule, ...] = ()
    host: str | None = None
    made_by: Mapping[str, str | int | float | bool] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise PlanError(f"a plan has at least one row, not {self.rows}.")

    def __or__(self, other: Plan) -> Plan:
        """This plan, then the other: where both speak of a cell, the other wins."""
        if self.rows != other.rows:
            raise PlanError(
                f"plans of {self.rows} and {other.rows} rows cannot be joined: make both for the same calls."
            )
        if self.host and other.host and self.host != other.host:
            raise PlanError(f"plans for the hosts {self.host} and {other.host} cannot be joined.")
        return replace(
            self,
            rules=self.rules + other.rules,
            host=self.host or other.host,
            made_by={**self.made_by, **other.made_by},
        )

    def __str__(self) -> str:
        from .drawing import draw_rules

        return draw_rules(self)
