"""What a table costs, beside the whole host. Arithmetic on an outline: no model and no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import FitError
from .outline import Outline
from .table import Table
from .units import cost, kept_counts


@dataclass(frozen=True)
class Bill:
    """The price of one run under a table.

    Attributes:
        macs: Multiply-accumulates of each row (1 MAC is 2 floating point operations).
        whole: What one call of the whole host costs.
        kept_bytes: Bytes of remembered features after each row.
    """

    macs: tuple[int, ...]
    whole: int
    kept_bytes: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.macs)

    @property
    def macs_ratio(self) -> float:
        """MACs of the plan over MACs of the whole host. Not a ratio of seconds."""
        return self.total / (self.whole * len(self.macs))

    @property
    def peak_bytes(self) -> int:
        return max(self.kept_bytes)

    def __str__(self) -> str:
        return (
            f"{count(self.total)}MACs in {len(self.macs)} calls, {self.macs_ratio:.1%} of the whole host's "
            f"{count(self.whole * len(self.macs))}MACs; at most {count(self.peak_bytes)}B remembered"
        )


def count(number: float) -> str:
    """A number with three digits and an SI prefix, ready for its unit."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def own_macs(outline: Outline) -> dict[str, int]:
    """What each unit and subunit costs by itself, its subunits counted apart."""
    own = {}
    for site in outline.of_level("unit", "subunit"):
        own[site.path] = site.macs - sum(outline.by_path[part].macs for part in site.parts)
    return own


def row_macs(table: Table, row: int, own: Mapping[str, int]) -> int:
    """What one row costs. What belongs to no unit (the embedding of time, say) runs unless the host is not entered.

    An identity path is walked where a residual is recalled, and once more where one is taken down.
    """
    outline, settled = table.outline, table.flows[row]
    if table.told[row]:
        return 0
    always = outline.macs - sum(unit.macs for unit in outline.of_level("unit"))
    walked = [path for path, action in settled.recalled.items() if action.carry == "residual"]
    walked += table.residual & settled.running & table.kept[row].keys()
    shortcuts = sum(outline.by_path[path].shortcut_macs or 0 for path in walked)
    left_out = outline.macs - cost(outline, kept_counts(outline, table.cells[row])).macs if outline.prices else 0
    return always + shortcuts + sum(own[path] for path in settled.running) - left_out


def price(table: Table, others: Mapping[str, Outline] | None = None) -> Bill:
    """The bill of a table.

    Args:
        others: Outlines of the models that `Use` calls.

    Raises:
        FitError: the plan uses a model whose outline is not in `others`.
    """
    own = own_macs(table.outline)
    macs, kept = [], []
    for row, name in enumerate(table.answering):
        if name is None:
            macs.append(row_macs(table, row, own))
        elif others and name in others:
            macs.append(others[name].macs)
        else:
            raise FitError(f"the plan uses the model {name!r}: its outline is needed to price it.")
        kept.append(sum(depth * table.outline.by_path[path].output_bytes for path, depth in table.kept[row].items()))
    return Bill(tuple(macs), table.outline.macs, tuple(kept))
