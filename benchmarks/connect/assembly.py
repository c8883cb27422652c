"""What is kept when senses that were trained apart are shown together: for any senses, ways and figures.

*Gain* is how far a figure went from words alone to what real pictures reach. *Retention* is the figure assembled over
the figure alone. A way that has no effect keeps all of it, so whatever gains less than a tenth alone counts as nothing
kept in what is claimed, and gains are told beside.

*Cross-talk* compares pictures in pairs, drawn of the same noise with one reference exchanged: how much they change in
what another sense measures, over how much they do when that sense's own reference is exchanged. Means would not show
it: references are independent, so as many pictures come nearer to another sense's reference as go away from it.

What is set beside rivals is modules that were trained as long as these, at scale 1. Modules that ship were trained
longer, and may speak at a scale that was chosen afterwards, a dial that concatenation lacks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

import numpy as np

from benchmarks.answers import Figures
from benchmarks.connect.metrics import interval, ratio_interval
from benchmarks.results import Claim, at_least, at_most

Names = tuple[str, ...]
TEXT, OURS, IN_TURN, JOINT = "text only", "modules", "modules in turn", "modules trained jointly"
ALIKE = "modules trained alike"  # as long as their rivals
SOFTER, SOFTLY = "decoupled, softer together", 0.7  # adapters are often turned down where several speak
DERIVED = {IN_TURN: OURS, SOFTER: "decoupled"}  # shown alone, these are what they derive from
RIVALS = ("decoupled", SOFTER, "concatenated", "loud")
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


class Crossed(TypedDict):
    """Cross-talk of one sense into one measure.

    Attributes:
        signed: What means alone would say: how far the measure's mean moved, over how far the exchanged sense's did,
            each in parts of its way to go.
    """

    share: float
    interval: list[float]
    signed: float


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
        changes: By sense, how much each of these pictures differs from that with its own reference, by measure.
        cells: Which cell each picture is of; each of its own if None.
    """

    scales: Mapping[str, Scale]
    text: Figures
    rows: Mapping[str, Mapping[Names, Figures]]
    swapped: Mapping[str, Figures]
    changes: Mapping[str, Figures]
    cells: np.ndarray | None = None

    def gain(self, figures: Figures, measure: str) -> float:
        """How much of the way from words alone to real pictures: 0 is words, 1 is real."""
        return (float(figures[measure].mean()) - float(self.text[measure].mean())) / self.way_to_go(measure)

    def way_to_go(self, measure: str) -> float:
        """From words alone to real pictures, in the measure's own unit; no number if there is none to go."""
        return self.scales[measure].ceiling - float(self.text[measure].mean()) or float("nan")

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
                    "interval": ratio_interval(part, whole, self.cells),
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

    def cross_talk(self) -> dict[str, dict[str, Crossed]]:
        """For each sense whose reference is exchanged, what that does to each measure of another."""
        found: dict[str, dict[str, Crossed]] = {}
        for sense, changed in self.changes.items():
            signed = self.signed(sense)
            found[sense] = {
                measure: {
                    "share": share(changed[measure].mean(), self.changes[scale.sense][measure].mean()),
                    "interval": ratio_interval(changed[measure], self.changes[scale.sense][measure], self.cells),
                    "signed": signed[measure],
                }
                for measure, scale in self.scales.items() if scale.sense != sense
            }  # fmt: skip
        return found

    def signed(self, sense: str) -> dict[str, float]:
        """How far the mean of each measure moves when a sense's reference is exchanged, over how far its own do."""
        whole, swapped = self.rows[OURS][tuple(self.swapped)], self.swapped[sense]
        far = {one: abs(float((whole[one] - swapped[one]).mean()) / self.way_to_go(one)) for one in self.scales}
        own = np.mean([far[measure] for measure, scale in self.scales.items() if scale.sense == sense])
        return {measure: share(moved, own) for measure, moved in far.items()}

    def told(self) -> list[dict]:
        """For `results.write_result`."""
        drawn: list[tuple[str, Names, str | None, Figures]] = [(TEXT, (), None, self.text)]
        drawn += [(way, names, None, figures) for way, rows in self.rows.items() for names, figures in rows.items()]
        drawn += [(OURS, tuple(self.swapped), sense, figures) for sense, figures in self.swapped.items()]
        rows: list[dict] = [
            {"way": way, "shown": list(names), "swapped": swapped, **told(figures, self.cells)}
            for way, names, swapped, figures in drawn
        ]
        rows += [{"exchanged": sense, "changed": told(figures, self.cells)} for sense, figures in self.changes.items()]
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
        crossed = [one for others in self.cross_talk().values() for one in others.values()]
        for what, parts in (("", [one["share"] for one in crossed]), (" in means", [one["signed"] for one in crossed])):
            claims.append(at_most(f"cross-talk{what}, of the own effect, at its worst", max(parts), CROSSED))
        plain = self.means(ALIKE if ALIKE in self.rows else OURS)
        for way in RIVALS:
            if way in self.rows:
                for what, ahead in zip(("retention", "gain"), np.subtract(plain, self.means(way)), strict=True):
                    claims.append(at_least(f"mean {what} above {way}", float(ahead), 0.0))
        return claims


def share(part: float, whole: float) -> float:
    """A part of an effect; without bound if there was no effect."""
    return float(part / whole) if whole else float("inf")


def counted(kept: Kept) -> float:
    """Retention, and nothing where there was no effect to keep."""
    return kept["retention"] if kept["gain alone"] >= EFFECT else 0.0


def told(figures: Figures, cells: np.ndarray | None = None) -> dict[str, object]:
    """Means and their intervals."""
    return {
        **{name: float(np.nanmean(values)) for name, values in figures.items()},
        "intervals": {name: interval(values, cells) for name, values in figures.items()},
    }


def assembly_of(
    senses: Sequence[str],
    scales: Mapping[str, Scale],
    ways: Sequence[str],
    joint: Names,
    judged: Callable[[str, Names, str | None], Figures],
    changed: Callable[[str], Figures] | None,
    cells: np.ndarray | None = None,
) -> Assembly:
    """Draw and judge every row: words alone, each way with each group of senses, and references exchanged.

    Args:
        ways: Those that were trained, ours first.
        joint: What was also trained jointly; empty if nothing was.
        judged: Draws a row, of a way, shown these senses, one of them swapped.
        changed: How much swapping one of all senses changes each picture of modules; None for no such rows.
        cells: Which cell each picture is of; each of its own if None.
    """
    text = judged(TEXT, (), None)
    groups = groups_of(senses)
    rows = {way: {names: judged(way, names, None) for names in groups} for way in ways}
    for way, plain in DERIVED.items():
        if plain in rows:
            rows[way] = {names: rows[plain][names] if len(names) == 1 else judged(way, names, None) for names in groups}
    if joint:
        rows[JOINT] = {joint: judged(JOINT, joint, None)}
    swapped = {name: judged(OURS, tuple(senses), name) for name in senses} if changed else {}
    changes = {name: changed(name) for name in senses} if changed else {}
    return Assembly(scales, text, rows, swapped, changes, cells)
