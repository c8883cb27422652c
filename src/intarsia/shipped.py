"""Models, plans and kits that come with intarsia, found by short names from a clone and from a wheel alike.

A model's folder is a diffusers pipeline. Or it holds a UNet alone and a `borrows.json` that names the model from which
all the rest is taken: a student that ships beside its teacher need not bring the same words and decoder again.
"""

import json
from pathlib import Path

from .errors import CardError

HERE = Path(__file__).parent
MODELS = HERE / "models"
PLANS = HERE / "plans"
KITS = HERE / "kits"
BORROWS = "borrows.json"
GUIDANCE = 3.0  # how strongly words lead, unless a person says otherwise
PICKLES = (".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth")


def model_names() -> list[str]:
    """Short names of the models that come with intarsia."""
    return sorted({index.parent.name for name in ("model_index.json", BORROWS) for index in MODELS.glob(f"*/{name}")})


def plan_names() -> list[str]:
    """Short names of the plans that come with intarsia."""
    return sorted(path.stem for path in PLANS.glob("*.yaml"))


def model_folder(name: str) -> Path:
    """The folder of a diffusers pipeline, by short name or by path.

    Raises:
        CardError: there is no such folder, it holds no pipeline, or it holds a pickle, which could run
            any code when loaded.
    """
    folder = MODELS / name if name in model_names() else Path(name)
    if not folder.is_dir():
        raise CardError(
            f"there is no model folder {name!r}. Name a diffusers folder, or one of: {', '.join(model_names())}."
        )
    if not (folder / "model_index.json").exists():
        lender_of(folder)
    pickles = sorted(path for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise CardError(
            f"{pickles[0]}: a pickle, which can run any code when loaded; refused. Save the model as safetensors."
        )
    return folder


def kit_names() -> list[str]:
    """Short names of the kits that come with intarsia."""
    return sorted(card.parent.name for card in KITS.glob("*/kit.json"))


def kit_folder(name: str) -> Path:
    """The folder of a kit, by short name or by path.

    Raises:
        CardError: there is no such folder.
    """
    folder = KITS / name if name in kit_names() else Path(name)
    if not folder.is_dir():
        raise CardError(
            f"there is no kit {name!r}. Name the folder of one; docs/kits.md says how one is made. "
            f"With intarsia come: {', '.join(kit_names()) or 'none yet'}."
        )
    return folder


def known_as(folder: Path) -> str:
    """What `model_folder` finds a folder by, from wherever it is asked: a short name, or the whole path."""
    return folder.name if folder.parent == MODELS else str(folder.resolve())


def lender_of(folder: Path) -> Path:
    """The folder of the pipeline from which a UNet's folder borrows all the rest.

    Raises:
        CardError: the folder borrows nothing, or from a model that is not there.
    """
    path = folder / BORROWS
    if not path.exists():
        raise CardError(f"{folder}: no model_index.json in it, so it is not a diffusers pipeline.")
    try:
        lender = json.loads(path.read_text())["from"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CardError(f'{path}: should hold {{"from": MODEL}} ({error!r}).') from error
    found = MODELS / lender if (MODELS / lender).is_dir() else folder / lender
    if not (found / "model_index.json").exists():
        raise CardError(f"{path}: borrows from {lender!r}, which is no pipeline's folder.")
    return found


def modules_of(folder: Path) -> dict[str, Path]:
    """The files of the modules that come with a model, by name: what `connect` teaches it to look at."""
    return {path.stem: path for path in sorted((folder / "modules").glob("*.safetensors"))}


def module_file(folder: Path, name: str) -> Path:
    """A module that comes with a model, by name.

    Raises:
        CardError: none of this name does.
    """
    found = modules_of(folder)
    if name not in found:
        raise CardError(
            f"no module {name!r} comes with the model in {folder}; it has: {', '.join(found) or 'none'}. Name the file "
            "of your own, or train one: intarsia train-module."
        )
    return found[name]


def plan_file(name: str) -> Path:
    """A plan file, by short name or by path.

    Raises:
        CardError: there is no such file.
    """
    path = PLANS / f"{name}.yaml" if name in plan_names() else Path(name)
    if not path.is_file():
        raise CardError(f"there is no plan {name!r}. Name a file, or one of: {', '.join(plan_names())}.")
    return path


def outline_file(name: str) -> Path:
    """An outline file, by the short name of its model or by path.

    Raises:
        CardError: there is no such file.
    """
    path = MODELS / name / "outline.json" if name in model_names() else Path(name)
    if not path.is_file():
        raise CardError(
            f"there is no outline {name!r}. 'intarsia outline MODEL -o FILE' writes one. "
            f"Known: {', '.join(model_names())}."
        )
    return path
