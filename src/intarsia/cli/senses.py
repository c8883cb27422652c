"""What `run` is told of references: pictures by module, weights, files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PlanError
from .reading import read_pairs

TEXT_ONLY, WITH_REFERENCES = "text only", "with references"


@dataclass(frozen=True)
class Senses:
    """Pictures for a run to look at.

    Attributes:
        references: A picture for each module.
        weights: What modules count for, where that is not 1.
        files: Modules that do not come with the model.
        encoders: For modules that look through a vision model, its folder.
    """

    references: Mapping[str, Path]
    weights: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)


def read_senses(
    named: Mapping[str, Path | None], more: list[str], weights: list[str], files: list[Path], encoders: list[str]
) -> Senses | None:
    """What was said on the command line, or None if nothing was.

    Args:
        named: Pictures of options that are called as their module is.
        more: Pictures as NAME=PICTURE.
        weights: As NAME=NUMBER.
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
        try:
            found[name] = float(text)
        except ValueError:
            raise PlanError(f"--weight {name}={text}: {text!r} is not a number.") from None
    if not references and (found or files or encoders):
        raise PlanError("nothing to look at: name a picture too, as --style PICTURE or --reference NAME=PICTURE.")
    return (
        Senses(references, found, tuple(files), read_pairs(encoders, "ENCODER", "style=clip/")) if references else None
    )
