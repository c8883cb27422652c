"""All figures of one seed, kept in the repository: seeds may be trained on different days and machines."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.results import RESULTS
from recipes.modules.training import Training

KEPT = RESULTS / "shapes"
Figures = dict[str, np.ndarray]
ASKED = "asked"


@dataclass
class Answers:
    """Figures by what was asked, those of pictures drawn now where nobody asked before.

    Attributes:
        asked: What all of them depend on.
        known: By row and measure, a number for each picture.
    """

    path: Path
    asked: Mapping[str, object]
    known: dict[str, Figures] = field(default_factory=dict)
    new: bool = False

    @classmethod
    def of(cls, path: Path, asked: Mapping[str, object]) -> "Answers":
        """Those of an earlier run.

        Raises:
            SystemExit: it asked otherwise.
        """
        found = cls(path, asked)
        if path.exists():
            with np.load(path) as kept:
                before = json.loads(str(kept[ASKED]))
                if before["settings"] != json.loads(json.dumps(asked)):
                    raise SystemExit(f"{path} was asked {before['settings']}, and now {asked}; remove it to ask anew.")
                for name in kept.files:
                    if name != ASKED:
                        row, measure = name.rsplit("|", 1)
                        found.known.setdefault(row, {})[measure] = kept[name]
        return found

    def trainings(self, told: Callable[[], Mapping[str, Training]]) -> dict[str, Training]:
        """How everything was trained."""
        if not self.path.exists():
            return dict(told())
        with np.load(self.path) as kept:
            return {name: Training(**one) for name, one in json.loads(str(kept[ASKED]))["trainings"].items()}

    def row(self, name: str, make: Callable[[], Figures]) -> Figures:
        if name not in self.known:
            self.known[name], self.new = make(), True
        return self.known[name]

    def keep(self, trainings: Mapping[str, Training]) -> None:
        """Write them, if there are new ones."""
        if not self.new:
            return
        told = {"settings": dict(self.asked), "trainings": {name: asdict(one) for name, one in trainings.items()}}
        flat = {f"{row}|{name}": values for row, found in self.known.items() for name, values in found.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part.npz")
        np.savez_compressed(part, **{ASKED: np.array(json.dumps(told))}, **flat)
        part.replace(self.path)
