"""A pack: one supernet, and the units that many orders keep of it, in one file of safetensors.

Two ways to switch at run time. Under `active` the supernet itself answers as a scenario's model would: nothing is
copied, and every call costs what the whole costs. `cut` copies the weights that a scenario keeps, and no others, into
a model that costs what was ordered.

Source: NN-Factory (Xu et al. 2023), one supernet on a device whose scenario changes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from ..errors import CardError, FitError, RigError
from ..hosts.detector import BOX
from ..hosts.timm_supernet import TimmSupernet
from ..plan.table import nearest
from ..rig import gated
from ..saving import new_file
from ..tensors import fill, read_tensors
from .kit import Kit
from .shipping import Built, built_of, host_of, kept_of, read_recipe, sha256_of_bytes

FORMAT = "pack/1"
# What all recipes of a kit say alike.
COMMON = ("architecture", "arguments", "size", "grain", "folded", "mean", "std", "supernet", "card")
OWN = ("keep", "leave_out", "task", "answers", "groups", "budget")


@dataclass(frozen=True)
class Pack:
    """A supernet and its scenarios.

    Attributes:
        host: The supernet. Scenarios leave its weights as they are.
        common: What all scenarios' recipes say alike.
        scenarios: By name, what the recipe of each says besides.
    """

    host: TimmSupernet
    common: Mapping[str, Any]
    scenarios: Mapping[str, Mapping[str, Any]]

    def recipe(self, name: str) -> dict[str, Any]:
        """The recipe of a scenario.

        Raises:
            FitError: there is no such scenario.
        """
        if name not in self.scenarios:
            known = ", ".join(self.scenarios)
            raise FitError(f"there is no scenario {name!r}.{nearest(name, self.scenarios)} Known: {known}.")
        return {**self.common, **self.scenarios[name]}

    def cut(self, name: str) -> Built:
        """A scenario's model, its weights copied out of the supernet: what `fulfil` had made."""
        recipe = self.recipe(name)
        model, lineage = self.host.narrowed(kept_of(recipe, self.host))
        lineage.fill(model, self.host.module)
        return built_of(recipe, self.host, model.requires_grad_(False))

    @contextmanager
    def active(self, name: str) -> Iterator[Built]:
        """Inside the block the supernet answers as the scenario's model: hooks, gone on the way out.

        Raises:
            FitError: there is no such scenario.
            RigError: another is active, or the supernet is in training.
        """
        recipe, module = self.recipe(name), self.host.module
        if module.training or any(isinstance(hook, Answers) for hook in module._forward_hooks.values()):
            raise RigError(f"{name!r}: another scenario is active, or the supernet is in training. Leave that first.")
        keep = kept_of(recipe, self.host)
        masks = {path: mask_of(units, self.host.outline.by_path[path].units) for path, units in keep.items()}
        answers = Answers(keep.get(self.host.answers or ""), bool(recipe["groups"]))
        masks.pop(self.host.answers or "", None)  # answers have no gate
        handle = module.register_forward_hook(answers)
        try:
            with gated(self.host, masks):
                yield built_of(recipe, self.host, module)
        finally:
            handle.remove()

    def bytes_of(self, name: str) -> int:
        """What a scenario takes on disk: in the header of the file, where its text is quoted."""
        return len(json.dumps(compact({name: self.scenarios[name]})))


@dataclass(frozen=True)
class Answers:
    """A hook that leaves a task's answers of all that a supernet answers.

    Attributes:
        kept: Their numbers; None for all.
        things: Boxes stand before them.
    """

    kept: Sequence[int] | None
    things: bool

    def __call__(self, _module: nn.Module, _args: object, answers: Tensor) -> Tensor:
        if self.kept is None:
            return answers
        return answers[..., [*range(BOX), *(BOX + name for name in self.kept)] if self.things else list(self.kept)]


def compact(said: object) -> str:
    """JSON without spaces."""
    return json.dumps(said, separators=(",", ":"))


def mask_of(units: Sequence[int], count: int) -> Tensor:
    """(count): 1 for these units."""
    mask = torch.zeros(count)
    mask[list(units)] = 1
    return mask


def packed(kit: Kit, folders: Mapping[str, Path]) -> Pack:
    """A pack of models that a kit's orders were shipped as.

    Args:
        folders: By the names that the scenarios will have.

    Raises:
        CardError: a folder holds no shipped model.
        FitError: a model is not of this kit, or its weights are not the supernet's own (batch norms that took their
            statistics anew are not); no folders.
    """
    earlier = {"folded": False}  # before any were, recipes did not say
    recipes = {name: earlier | read_recipe(folder) for name, folder in folders.items()}
    if not recipes:
        raise FitError("a pack has scenarios: name the folders that 'intarsia fulfil' wrote.")
    common = {name: next(iter(recipes.values())).get(name) for name in COMMON}
    trained = kit.host.unfolded
    host = trained if trained is not None and not common["folded"] else kit.host
    pack = Pack(host, common, {name: {part: one.get(part) for part in OWN} for name, one in recipes.items()})
    for name, recipe in recipes.items():
        other = [part for part in COMMON if recipe.get(part) != common[part]]
        if other or recipe.get("supernet") != host.outline.shape_hash:
            raise FitError(
                f"{folders[name]}: not a model of this kit (it differs in {', '.join(other) or 'supernet'})."
            )
        try:
            weights = save({key: value.contiguous() for key, value in pack.cut(name).model.state_dict().items()})
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CardError(f"{folders[name]}: not a recipe ({error}).") from None
        if sha256_of_bytes(weights) != recipe.get("sha256"):
            raise FitError(
                f"{folders[name]}: its weights are not this supernet's. Fulfil it again, without refreshed batch norms."
            )
    return pack


def save_pack(pack: Pack, path: Path) -> None:
    """Write a pack.

    Raises:
        OutputExists: something stands at `path`.
    """
    said = {"common": pack.common, "scenarios": pack.scenarios}
    tensors = {name: value.contiguous() for name, value in pack.host.module.state_dict().items()}
    with new_file(path) as part:
        save_file(tensors, part, {"intarsia": FORMAT, "pack": compact(said)})


def load_pack(path: Path) -> Pack:
    """Read a pack.

    Raises:
        CardError: the file is none, or its weights are not those of its card.
    """
    tensors, said = read_tensors(path)
    try:
        if said["intarsia"] != FORMAT:
            raise KeyError(said["intarsia"])
        card = json.loads(said["pack"])
        pack = Pack(host_of(card["common"]), card["common"], card["scenarios"])
        for name in pack.scenarios:
            kept_of(pack.recipe(name), pack.host)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CardError(f"{path}: not a pack ({error}). 'intarsia pack' writes one.") from None
    fill(pack.host.module, tensors, path)
    pack.host.module.requires_grad_(False)
    return pack
