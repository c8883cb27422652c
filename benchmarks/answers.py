"""Figures of rows, kept in the repository: what is compared may be trained on different days and machines."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.drawing import processes
from recipes.modules.training import Training

Figures = Mapping[str, np.ndarray]  # by measure, a number for each picture
ASKED = "asked"


@dataclass
class Answers:
    """Figures by row, worked out now where nobody asked before.

    Attributes:
        asked: What all of them depend on.
        rows: By name; measures have no `|` in theirs.
        trainings: How what was compared was trained, by name.
    """

    path: Path
    asked: Mapping[str, object]
    rows: dict[str, Figures] = field(default_factory=dict)
    trainings: dict[str, Training] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, asked: Mapping[str, object]) -> "Answers":
        """Those of earlier runs.

        Raises:
            SystemExit: they were asked otherwise.
        """
        if not path.exists():
            return cls(path, asked)
        with np.load(path) as kept:
            told = json.loads(str(kept[ASKED]))
            flat = {name: kept[name] for name in kept.files if name != ASKED}
        if told["settings"] != json.loads(json.dumps(asked)):
            raise SystemExit(f"{path} was asked {told['settings']}, and now {dict(asked)}; remove it to ask anew.")
        rows: dict[str, dict[str, np.ndarray]] = {}
        for name, values in flat.items():
            row, measure = name.rsplit("|", 1)
            rows.setdefault(row, {})[measure] = values
        trainings = {name: Training(**one) for name, one in told["trainings"].items()}
        return cls(path, asked, dict(rows), trainings)

    def row(self, name: str, make: Callable[[], Figures]) -> Figures:
        """A row's figures. Under `torchrun` every process must call this."""
        if name not in self.rows:
            self.rows[name] = make()
            self.keep()
        return self.rows[name]

    def training(self, name: str, told: Callable[[], Training]) -> Training:
        """How something was trained; what is kept of it has to be of the training that is there, if one is.

        Raises:
            SystemExit: there is none and none is known, or there is another one.
        """
        known = self.trainings.get(name)
        try:
            here = told()
        except SystemExit:
            if known is None:
                raise
            return known
        if known not in (None, here):
            raise SystemExit(f"{self.path} holds rows of {name} as it was trained elsewhere; remove one of the two.")
        self.trainings[name] = here
        return here

    def keep(self) -> None:
        """Write them, beside what another run may have written meanwhile."""
        if not processes().is_main_process:
            return
        beside = Answers.of(self.path, self.asked)
        self.rows, self.trainings = beside.rows | self.rows, beside.trainings | self.trainings
        trainings = {name: asdict(one) for name, one in self.trainings.items()}
        told = json.dumps({"settings": dict(self.asked), "trainings": trainings})
        flat = {f"{row}|{name}": values for row, found in self.rows.items() for name, values in found.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez_compressed(part, **{ASKED: np.array(told)}, **flat)
        part.replace(self.path)
