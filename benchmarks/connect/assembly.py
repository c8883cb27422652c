"""What is kept when senses that were trained apart are shown together: for any senses, ways and figures.

*Gain* is how far a figure went from words alone to what real pictures reach. *Retention* is the figure assembled over
the figure alone. A way that has no effect keeps all of it, so whatever gains less than a tenth alone counts as nothing
kept in what is claimed, and gains are told beside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

import numpy as np

from benchmarks.connect.metrics import interval, ratio_interval
from benchmarks.results import Claim, at_least, at_most

Names = tuple[str, ...]
Figures = Mapping[str, np.ndarray]  # by measure, a number for each picture
TEXT, OURS, IN_TURN, JOINT = "text only", "modules", "modules in turn", "modules trained jointly"
RIVALS = ("decoupled", "concatenated")
EFFECT = 0.1
PAIR, TRIPLE, ALONE, LOST, CROSSED = 0.9, 0.85, 0.5, 0.03, 0.1  # what is aimed at


@dataclass(frozen=True)
class Scale:
    """A measure of one sense.

    Attributes:
        ceiling: What real pictures reach.
    """

    sense: str
    ceiling: float
    more_is_better: bool = True


Kept = TypedDict(
    "Kept",
    {"retention": float, "interval": list[float], "gain alone": float, "gain together": float},
)


def groups_of(senses: Sequence[str]) -> list[Names]:
    """Each sense, every pair, and so on to all."""
    return [names for count in range(1, len(senses) + 1) for names in combinations(senses, count)]


@dataclass(frozen=True)
class Assembly:
    """All that was drawn and judged.

    Attributes:
        scales: By measure.
        text: With no reference shown.
        rows: By way and by what was shown.
        swapped: By sense, with all shown by modules, but of that sense another picture's reference.
    """

    scales: Mapping[str, Scale]
    text: Figures
    rows: Mapping[str, Mapping[Names, Figures]]
    swapped: Mapping[str, Figures]

    def gain(self, figures: Figures, measure: str) -> float:
        """How much of the way from words alone to real pictures: 0 is words, 1 is real."""
        begun, ceiling = float(self.text[measure].mean()), self.scales[measure].ceiling
        return (float(figures[measure].mean()) - begun) / (ceiling - begun) if ceiling != begun else float("nan")

    def kept(self, way: str, names: Names) -> dict[str, Kept]:
        """For each measure of the senses shown: retention with its interval, and the gains alone and together."""
        rows = self.rows[way]
        found: dict[str, Kept] = {}
        for measure, scale in self.scales.items():
            if scale.sense in names:
                alone, together = rows[scale.sense,], rows[names]
                over = (together, alone) if scale.more_is_better else (alone, together)
                part, whole = (one[measure] for one in over)
                found[measure] = {
                    "retention": float(part.mean() / whole.mean()) if whole.mean() else float("nan"),
                    "interval": ratio_interval(part, whole),
                    "gain alone": self.gain(alone, measure), "gain together": self.gain(together, measure),
                }  # fmt: skip
        return found

    def assembled(self, way: str) -> list[Names]:
        """What a way was shown together, where its parts were also shown alone."""
        alone = {names for names in self.rows[way] if len(names) == 1}
        return [names for names in self.rows[way] if len(names) > 1 and all((name,) in alone for name in names)]

    def means(self, way: str) -> tuple[float, float]:
        """Over all measures and assemblies: retention, none counted where there was no effect, and gain."""
        told = [one for names in self.assembled(way) for one in self.kept(way, names).values()]
        return float(np.mean([counted(one) for one in told])), float(np.mean([one["gain together"] for one in told]))

    def cross_talk(self) -> dict[str, dict[str, float]]:
        """For each sense whose reference is exchanged, how far other measures move, in parts of how far its own do."""
        whole = self.rows[OURS][max(self.rows[OURS], key=len)]
        found: dict[str, dict[str, float]] = {}
        for sense, figures in self.swapped.items():
            change = {one: abs(self.gain(whole, one) - self.gain(figures, one)) for one in self.scales}
            own = np.mean([change[one] for one, scale in self.scales.items() if scale.sense == sense])
            found[sense] = {
                one: float(change[one] / own) if own else float("inf")
                for one, scale in self.scales.items()
                if scale.sense != sense
            }
        return found

    def told(self) -> list[dict]:
        """For `results.write_result`."""
        drawn: list[tuple[str, Names, str | None, Figures]] = [(TEXT, (), None, self.text)]
        drawn += [(way, names, None, figures) for way, rows in self.rows.items() for names, figures in rows.items()]
        drawn += [(OURS, tuple(self.swapped), sense, figures) for sense, figures in self.swapped.items()]
        rows: list[dict] = [
            {"way": way, "shown": list(names), "swapped": swapped, **told(figures)}
            for way, names, swapped, figures in drawn
        ]
        for way in self.rows:
            rows += [{"way": way, "assembled": list(names), **self.kept(way, names)} for names in self.assembled(way)]
            if self.assembled(way):
                retention, gain = self.means(way)
                rows.append({"way": way, "mean retention with an effect": retention, "mean gain together": gain})
        return [*rows, {"cross-talk": self.cross_talk()}]

    def claims(self, words: str, *, alone: bool) -> list[Claim]:
        """What modules should do alone, together, and better than their rivals.

        Args:
            words: The measure that says whether words are still followed.
            alone: Whether each sense has to go half of the way by itself.
        """
        ours, claims = self.rows[OURS], []
        for measure, scale in self.scales.items():
            if alone:
                gain = self.gain(ours[scale.sense,], measure)
                claims.append(at_least(f"{measure} alone, of the way from words to real pictures", gain, ALONE))
        for sense in dict.fromkeys(scale.sense for scale in self.scales.values()):
            lost = float(self.text[words].mean() - ours[sense,][words].mean())
            claims.append(at_most(f"{sense} alone, {words} lost", lost, LOST))
        for names in self.assembled(OURS):
            for measure, found in self.kept(OURS, names).items():
                said = f"{' + '.join(names)}, retention of {measure}"
                claims.append(at_least(said, counted(found), PAIR if len(names) == 2 else TRIPLE))
        worst = max(max(others.values()) for others in self.cross_talk().values())
        claims.append(at_most("cross-talk, of the own effect, at its worst", worst, CROSSED))
        for way in RIVALS:
            if way in self.rows:
                for what, ahead in zip(
                    ("retention", "gain"), np.subtract(self.means(OURS), self.means(way)), strict=True
                ):
                    claims.append(at_least(f"mean {what} above {way}", float(ahead), 0.0))
        return claims


def counted(kept: Kept) -> float:
    """Retention, and nothing where there was no effect to keep."""
    return kept["retention"] if kept["gain alone"] >= EFFECT else 0.0


def told(figures: Figures) -> dict[str, object]:
    """Means and their intervals."""
    return {
        **{name: float(np.nanmean(values)) for name, values in figures.items()},
        "intervals": {name: interval(values) for name, values in figures.items()},
    }


def assembly_of(
    senses: Sequence[str],
    scales: Mapping[str, Scale],
    ways: Sequence[str],
    joint: Names,
    judged: Callable[[str, Names, str | None], Figures],
) -> Assembly:
    """Draw and judge every row: words alone, each way with each group of senses, and references exchanged.

    Args:
        ways: Those that were trained, ours first.
        joint: What was also trained jointly; empty if nothing was.
        judged: Draws a row, of a way, shown these senses, one of them swapped.
    """
    text = judged(TEXT, (), None)
    groups = groups_of(senses)
    rows = {way: {names: judged(way, names, None) for names in groups} for way in ways}
    rows[IN_TURN] = {
        names: rows[OURS][names] if len(names) == 1 else judged(IN_TURN, names, None) for names in groups
    }  # fmt: skip
    if joint:
        rows[JOINT] = {joint: judged(JOINT, joint, None)}
    return Assembly(scales, text, rows, {name: judged(OURS, tuple(senses), name) for name in senses})
