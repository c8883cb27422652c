"""From pictures to a pipeline that looks at them: modules, their encoders, a stack and its attachment in one step.

with connect.shown(pipe, {"style": "painting.png", "palette": "photo.jpg"}, weights={"style": 0.8}):
    picture = pipe("a fox").images[0]
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn

from ..errors import CardError, FitError
from ..pictures import opened
from ..shipped import module_file
from .attaching import Attachment, attached
from .connector import Connector, TextCarrier
from .encoders import Encoder
from .modality import Modality
from .naming import encoder_for
from .stack import Stack
from .table import Uncond
from .weights import Weighed

Picture = str | Path | Image.Image


def load_modules(
    pipe: DiffusionPipeline, names: Sequence[str], files: Sequence[str | Path] = (), connector: Connector | None = None
) -> dict[str, Modality]:
    """Modules by name: of these files, and, for names that no file has, those that come with the pipeline's model.

    Args:
        connector: What they plug into; the pipeline's own text tokens if not given.

    Raises:
        CardError: there is no such module, a file is none, or it was made for another connector.
        FitError: two files hold modules of one name.
    """
    connector = connector or TextCarrier.of(pipe)
    found: dict[str, Modality] = {}
    for file in files:
        module = Modality.load(Path(file), connector)
        if module.name in found:
            raise FitError(f"{file}: a second module called {module.name!r}; a stack tells its modules apart by names.")
        found[module.name] = module
    for name in names:
        if name not in found:
            file = module_file(folder_of(pipe), name)
            found[name] = Modality.load(file, connector)
            if found[name].name != name:
                raise CardError(f"{file}: holds a module called {found[name].name!r}; rename the file, or name that.")
    return found


def folder_of(pipe: DiffusionPipeline) -> Path:
    """Where a pipeline's model lies; one that was made of another's components asks its UNet.

    Raises:
        CardError: neither knows.
    """
    if pipe.name_or_path:
        return Path(pipe.name_or_path)
    part = pipe.unet.config.get("_name_or_path")
    if not part:
        raise CardError("the pipeline does not know its folder, where its modules lie; name the files of modules.")
    return Path(part).parent


@contextmanager
def shown(
    pipe: DiffusionPipeline,
    references: Mapping[str, Picture | Sequence[Picture]],
    *,
    files: Sequence[str | Path] = (),
    weights: Mapping[str, Weighed] | None = None,
    encoders: Mapping[str, str | Encoder] | None = None,
    connector: Connector | None = None,
    uncond: Uncond = "off",
    also: Sequence[nn.Module] = (),
) -> Iterator[Attachment]:
    """Let a pipeline see references inside the block; afterwards it is what it was.

    What the UNet is told is worked out at the first run of some words, and kept for the runs that repeat them.

    Args:
        references: By module: a picture for all that is drawn, or a list with one for each prompt.
        files: Modules of your own. Others are those that come with the model.
        weights: By module, 1 where nothing is said.
        encoders: By module, an encoder of your own or the folder of a vision model, for modules that look through one.
        connector: As in `load_modules`.
        uncond, also: See `attached`.

    Raises:
        CardError: a module is not there or is for another model, or a picture cannot be read.
        FitError: a weight, file or encoder is for a module that is shown nothing; a list of pictures lacks some.
        RigError: an encoder's packages are not installed, or the pipeline has a stack already.
    """
    connector = connector or TextCarrier.of(pipe)
    modules = load_modules(pipe, list(references), files, connector)
    for what, named in (("module", modules), ("weight", weights or {}), ("encoder", encoders or {})):
        stranger = next((name for name in named if name not in references), None)
        if stranger is not None:
            raise FitError(
                f"the {what} {stranger!r} has no picture to look at; pictures are given for: {', '.join(references)}."
            )
    seen = {}
    for name, given in references.items():
        if isinstance(given, Sequence) and not (isinstance(given, str) or (given and None not in given)):
            raise FitError(f"{name!r} is shown {given}: give a picture, or one for each prompt.")
        asked = (encoders or {}).get(name)
        encoder = encoder_for(name, modules[name].features, asked) if asked is None or isinstance(asked, str) else asked
        pictures: Sequence[Picture] = [given] if isinstance(given, (str, Path, Image.Image)) else given
        seen[name] = encoder([one if isinstance(one, Image.Image) else opened(one) for one in pictures])
    stack = Stack(connector, modules.values(), weights).to(pipe._execution_device)
    with attached(pipe, stack, uncond=uncond, also=also) as senses:
        senses.give(**seen)
        yield senses
