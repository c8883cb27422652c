"""Where modules ship: a file each beside their model, and one card for all."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from intarsia.connect import Modality, Window
from intarsia.connect.files import read
from intarsia.connect.modality import DOCUMENT
from intarsia.parts.gated_perceiver import Gate
from recipes.shipping import commit, write_card

CARD = Path(__file__).with_name("CARD.md")
LIMIT_MB = 3.2


def write_module(module: Modality, out: Path, training: Mapping[str, Any]) -> None:
    """Put a finished module in place of the last one of its name, and write the card of all that are there."""
    out.mkdir(parents=True, exist_ok=True)
    part, path = out / f"{module.name}.part", out / f"{module.name}.safetensors"
    part.unlink(missing_ok=True)
    module.save(part, {"commit": commit(), **training}, half=True)
    size = part.stat().st_size / 1e6
    if size > LIMIT_MB:
        raise SystemExit(f"{part} is {size:.1f} MB, more than {LIMIT_MB}")
    part.replace(path)
    write_card(CARD, out, {"modules": "\n".join(map(line_of, sorted(out.glob("*.safetensors"))))})
    print(f"wrote {path}: {size:.1f} MB; {dict(training)}")


def limited(module: Modality, scale: float, lowest: float) -> Modality:
    """The same module with another fixed scale of its gates, and silent below a time step; its card says so."""
    made, gating = copy.deepcopy(module), replace(module.gating, scale=scale)
    made.window = Window(lowest=lowest)
    for part in made.modules():
        if isinstance(part, (Modality, Gate)):
            part.gating = gating
    return made


def paid(training: Mapping[str, Any]) -> str:
    """What a module paid for loudness in its last training; its card does not tell of those before."""
    cost = training.get("loudness_cost", 0)
    return f"{cost:g} in the last {training['steps']:,} steps" if cost else "nothing"


def line_of(path: Path) -> str:
    """A module's line in the table of the card."""
    card = read(path, DOCUMENT)[1]
    told = card["training"]
    cells = (
        card["name"], card["features"]["encoder"], f"{path.stat().st_size / 1e6:.1f} MB",
        f"{told.get('before', 0) + told['steps']:,} of {told['batch']}", f"{told['seconds'] / 3600:.2f} h",
        f"{told['loss']:.4f}", f"{told['gap']:.4f}", f"{card['gating']['scale']:g}",
        f"{card.get('window', {}).get('lowest', 0):g}", paid(told),
        told.get("commit", "bc6c37d or before"),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
