"""What a host costs when sites keep some of their units: exact sums of products, without the model.

A layer between two gated ones costs (kept in) x (kept out); everything else is linear in one count or constant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ..errors import PlanError
from .actions import Action, Keep
from .outline import Outline
from .pattern import rows_of, write_rows

UNITS = re.compile(r"\s*\d+(\s*:\s*\d+)?\s*(,\s*\d+(\s*:\s*\d+)?\s*)*")
MOST = 2**20  # a typing error should not fill the memory


@dataclass(frozen=True)
class Cost:
    """MACs of one call, parameters, and bytes of parameters and buffers."""

    macs: int
    params: int
    bytes: int

    def __str__(self) -> str:
        from .bill import count

        return f"{count(self.macs)}MACs, {count(self.params)}parameters, {count(self.bytes)}B"


def whole_counts(outline: Outline) -> dict[str, int]:
    """For each site with units, how many it has."""
    return {site.path: site.units for site in outline.sites if site.units}


def kept_counts(outline: Outline, cells: Mapping[str, Action]) -> dict[str, int]:
    """For each site with units, how many a row keeps."""
    kept = {path: len(action.units) for path, action in cells.items() if isinstance(action, Keep)}
    return whole_counts(outline) | kept


def cost(outline: Outline, counts: Mapping[str, int]) -> Cost:
    """What is left of a host's cost.

    Args:
        counts: Units kept, by site; sites that are not named keep all.
    """
    whole = whole_counts(outline)
    left = whole | dict(counts)
    macs, params, size = outline.macs, outline.params, outline.bytes
    for price in outline.prices:
        gone = prod(whole[path] for path in price.kept) - prod(left[path] for path in price.kept)
        macs -= gone * price.macs
        params -= gone * price.params
        size -= gone * price.bytes
    return Cost(macs, params, size)


def read_units(text: str) -> tuple[int, ...]:
    """The units that a text such as '0:4, 7' names.

    Raises:
        PlanError: it is not a list of numbers and ranges 'from:to'.
    """
    if UNITS.fullmatch(text) is None:
        raise PlanError(f"keep {text!r}: write units as numbers and ranges, such as '0:4, 7'.")
    most = max(int(number) for number in re.findall(r"\d+", text)) + 1
    if most > MOST:
        raise PlanError(f"keep {text!r}: no site has more than {MOST} units.")
    return tuple(sorted(rows_of(text, most)))


def write_units(units: tuple[int, ...]) -> str:
    """A short text that names these units; `read_units` undoes it."""
    return write_rows(units, units[-1] + 2)  # one more than there are, so that 'all' is spelt out
