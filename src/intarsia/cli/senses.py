"""What `run` is told of references: pictures by module, weights, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PlanError
from .reading import read_pairs

if TYPE_CHECKING:
    from ..connect import Weight
    from ..hosts import Sampler

TEXT_ONLY, WITH_REFERENCES = "text only", "with references"


@dataclass(frozen=True)
class Senses:
    """Pictures for a run to look at.

    Attributes:
        references: A picture for each module.
        weights: What modules count for and in which calls, as rows of a run, where anything was said of it.
        files: Modules that do not come with the model.
        encoders: For modules that look through a vision model, its folder.
    """

    references: Mapping[str, Path]
    weights: Mapping[str, tuple[float, str | None]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)

    def weights_of(self, scheduler: Sampler, steps: int) -> dict[str, Weight]:
        """The weights of a run of so many steps.

        Raises:
            PlanError, FitError: its calls cannot be told apart in this way; see `connect.times_of`.
        """
        from ..connect import Weight, times_of

        return {
            name: Weight(value, None if rows is None else times_of(scheduler, steps, rows))
            for name, (value, rows) in self.weights.items()
        }


def read_senses(
    named: Mapping[str, Path | None], more: list[str], weights: list[str], files: list[Path], encoders: list[str]
) -> Senses | None:
    """What was said on the command line, or None if nothing was.

    Args:
        named: Pictures of options that are called as their module is.
        more: Pictures as NAME=PICTURE.
        weights: As NAME=NUMBER or NAME=NUMBER@CALLS.
        encoders: As NAME=FOLDER.

    Raises:
        PlanError: something is not of its form, or is said twice, or there is no picture for all that.
    """
    references = {name: picture for name, picture in named.items() if picture is not None}
    for name, picture in read_pairs(more, "PICTURE", "style=painting.png").items():
        if name in references:
            raise PlanError(f"{name!r} is shown two pictures; name one.")
        references[name] = Path(picture)
    found = {}
    for name, text in read_pairs(weights, "WEIGHT", "style=0.8").items():
        number, at, rows = text.partition("@")
        try:
            found[name] = float(number), rows if at else None
        except ValueError:
            raise PlanError(f"--weight {name}={text}: {number!r} is not a number.") from None
    if not references and (found or files or encoders):
        raise PlanError("nothing to look at: name a picture too, as --style PICTURE or --reference NAME=PICTURE.")
    return (
        Senses(references, found, tuple(files), read_pairs(encoders, "ENCODER", "style=clip/")) if references else None
    )
