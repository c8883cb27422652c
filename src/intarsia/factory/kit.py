"""A kit: a trained supernet, its assembler, and the answers that they know. A folder of safetensors and JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CardError, FitError
from ..hosts import timm_supernet
from ..hosts.timm_supernet import TimmSupernet
from ..saving import new_folder
from ..tensors import load_into
from .assembler import Assembler
from .ranking import Grounds
from .runtimes import NEAR, answers_apart
from .task import Space

FORMAT = "kit/1"
CARD, SUPERNET, ASSEMBLER = "kit.json", "supernet.safetensors", "assembler.safetensors"


@dataclass(frozen=True)
class Kit:
    """What orders are fulfilled from.

    Attributes:
        lowest, highest: The shares of MACs that were trained for. With a shared head the highest is below 1, for the
            whole supernet is the same for every task.
        mean, std: By which pictures, in 0 to 1, are normalised: one number a channel.
        card: What it was trained on, under which licences. For people.

    Raises:
        FitError: these do not belong together, so that what was saved could not be read, or would rank otherwise.
    """

    host: TimmSupernet
    assembler: Assembler
    space: Space
    lowest: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    highest: float = 1.0

    def __post_init__(self) -> None:
        refuse_other_answers(self.space, self.host)
        if not self.assembler.fits(self.space, self.grounds):
            raise FitError("the assembler is not for this space and supernet: make it by Assembler.of(space, grounds).")
        if not 0 < self.lowest <= self.highest <= 1:
            raise FitError(
                f"lowest {self.lowest:g} and highest {self.highest:g} are to be shares of MACs, in this order."
            )
        channels = self.host.size[0]
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != channels or not all(map(math.isfinite, numbers)):
                raise FitError(f"{name} has {len(numbers)} numbers where pictures have {channels} channels.")
        if min(self.std) <= 0:
            raise FitError(f"std {self.std}: pictures are divided by it, so it is more than 0.")

    @cached_property
    def grounds(self) -> Grounds:
        """The units to rank, and what they cost."""
        return Grounds.of(self.host.outline, self.host.answers)


def save_kit(kit: Kit, folder: Path, *, half: bool = False) -> None:
    """Write a kit.

    Args:
        half: Matrices and kernels in half precision: half the size, and answers that differ a little.

    Raises:
        OutputExists: something stands there.
        FitError: the supernet is not what timm builds from its name and arguments, so nobody could read it; or it was
            changed after its batch norms were folded.
    """
    host = kit.host.unfolded or kit.host
    built = timm_supernet.create(host.architecture, host.size, grain=host.grain, **host.arguments)
    ours, theirs = (
        {name: tuple(value.shape) for name, value in one.module.state_dict().items()} for one in (host, built)
    )
    if ours != theirs:
        raise misbuilt(host, f"{sorted(set(ours.items()) ^ set(theirs.items()))[0][0]!r} differs.")
    built.module.load_state_dict(host.module.state_dict())
    if built.outline.shape_hash != host.outline.shape_hash:
        raise misbuilt(host, "its units differ.")
    refuse_unlike(host, host.module, built.module)
    if not alike(host, host.module, kit.host.module):
        raise FitError(
            "this kit's folded supernet was changed since it was folded, and what is kept is the one before: change "
            "host.unfolded instead, or read the kit by load_kit(folder, fold=False)."
        )
    with new_folder(folder) as part:
        for module, file in ((host.module, SUPERNET), (kit.assembler, ASSEMBLER)):
            tensors = module.state_dict().items()
            save_file({name: (halved(one) if half else one).contiguous() for name, one in tensors}, part / file)
            (part / file).chmod(0o644)
        card = {
            "intarsia": FORMAT, "architecture": host.architecture, "arguments": host.arguments,
            "size": host.size, "grain": host.grain, "outline": host.outline.shape_hash,
            "assembler": {"width": kit.assembler.width}, "space": asdict(kit.space), "lowest": kit.lowest,
            "highest": kit.highest, "mean": kit.mean, "std": kit.std, "card": dict(kit.card),
        }  # fmt: skip
        (part / CARD).write_text(json.dumps(card, indent=1) + "\n")


def halved(tensor: Tensor) -> Tensor:
    """In half precision, if it is a matrix or a kernel; statistics of batch norms may be too large or small for it."""
    return tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor


def refuse_unlike(host: TimmSupernet, model: nn.Module, built: nn.Module) -> None:
    """Raise `FitError` unless a model that was built anew, with the same weights, answers as the one that it is to be.

    Shapes do not tell everything that timm was told: an activation has none.

    Args:
        model: The supernet's, or one that was cut out of it; its mode is left as it is.
    """
    if not alike(host, model, built):
        raise misbuilt(host, "it answers otherwise.")


def alike(host: TimmSupernet, model: nn.Module, other: nn.Module) -> bool:
    """Whether two models of a supernet answer as near to each other as those of two runtimes should."""
    picture = torch.randn(1, *host.size, generator=torch.Generator().manual_seed(0))
    wanted, found = (answered(one, picture) for one in (model, other))
    return answers_apart(found, wanted) <= NEAR


@torch.no_grad()
def answered(model: nn.Module, pictures: Tensor) -> Tensor:
    """What a model answers in evaluation mode, wherever it is; the mode of each of its parts is left as it is."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        answers: Tensor = model.eval()(pictures.to(next(model.parameters())))
    finally:
        for module, training in modes:
            module.training = training
    return answers.float().cpu()


def misbuilt(host: TimmSupernet, how: str) -> FitError:
    """The refusal of a supernet that timm builds otherwise from its name and arguments."""
    return FitError(
        f"timm.create_model({host.architecture!r}, {host.arguments}) builds another model than this supernet: {how} "
        "Say how it was created with architecture= and arguments=."
    )


def refuse_other_answers(space: Space, host: TimmSupernet) -> None:
    """Raise `FitError` unless a supernet gives the answers that a space names."""
    wanted = len(space.outputs)
    if host.answers is None:
        raise FitError(
            f"{host.architecture}: its answers are not those of one linear layer or convolution, so none can be left "
            f"out. Create it with num_classes={wanted}; if there are two such layers, as in distilled models, take "
            "another model."
        )
    if (count := host.units[host.answers].count) != wanted:
        raise FitError(
            f"the supernet has {count} outputs, and the space names {wanted}: {', '.join(space.outputs)}. Create the "
            f"model with num_classes={wanted}."
        )


def folded(kit: Kit) -> Kit:
    """The same kit for use alone: batch norms are part of the convolutions before them, and models are faster for it.

    Where that is not so, as where a convolution's output is read by others as well, or there are none, the kit itself.
    """
    host = timm_supernet.folded(kit.host)
    return replace(kit, host=host) if alike(kit.host, kit.host.module, host.module) else kit


def load_kit(folder: Path, *, fold: bool = True) -> Kit:
    """Read a kit.

    Args:
        fold: Make it faster, and of no use for training but by `learned_further`: see `folded`. Device files are of one
            or the other.

    Raises:
        CardError: the folder holds none, or its weights are not those of its card.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
        if card["intarsia"] != FORMAT:
            raise KeyError
        channels, height, width = card["size"]
        host = timm_supernet.create(
            card["architecture"], (channels, height, width), grain=card["grain"], **card["arguments"]
        )
        said = card["space"]
        space = Space(
            tuple(said["names"]),
            {word: tuple(names) for word, names in said["words"].items()},
            tuple(said["shared"]),
            tuple(tuple(group) for group in said["groups"]),
            said.get("things", False),
        )
        assembler = Assembler.of(space, Grounds.of(host.outline, host.answers), card["assembler"]["width"])
        mean, std = (tuple(map(float, card[name])) for name in ("mean", "std"))
        shares = float(card["lowest"]), float(card["highest"])
        kit = Kit(host, assembler.eval(), space, shares[0], mean, std, dict(card["card"]), shares[1])
        if host.outline.shape_hash != card["outline"]:
            raise CardError(
                f"{path}: timm or intarsia of this version has {card['architecture']!r} otherwise than its card says."
            )
    except FileNotFoundError:
        raise CardError(f"{folder}: no {CARD} in it, so it is not a kit.") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, CardError):
            raise
        why = " ".join(str(error).splitlines())
        raise CardError(f"{path}: not the card of a kit ({why}).") from None
    load_into(host.module, folder / SUPERNET)
    load_into(assembler, folder / ASSEMBLER)
    return folded(kit) if fold else kit
