"""Load a stock diffusers pipeline from a folder. Nothing is downloaded and no pickle is read."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, UNet2DConditionModel

from .. import heap
from ..errors import CardError
from ..shipped import lender_of
from .assembled_unet import AssembledUNet

# What diffusers, transformers and torch raise for folders and devices that will not do.
REFUSALS = (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError, AssertionError, ImportError)


def load_pipeline(folder: Path, *, device: str | None = None, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """The pipeline in a folder, ready to run.

    Args:
        device: CUDA where there is one, if not given.

    Raises:
        CardError: diffusers cannot read what is in the folder.
    """
    try:
        with quiet():
            pipe = whole_pipeline(folder)
            pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), dtype)
    except REFUSALS as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise CardError(f"{folder}: diffusers cannot load it: {said}") from error
    if getattr(pipe, "unet", None) is None or getattr(pipe, "tokenizer", None) is None:
        raise CardError(f"{folder}: a {type(pipe).__name__}, which has no UNet or no tokenizer. Plans are for UNets.")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def whole_pipeline(folder: Path) -> DiffusionPipeline:
    """What is in a folder, and what it borrows."""
    reading = {"use_safetensors": True, "local_files_only": True}
    if (folder / "model_index.json").exists():
        return DiffusionPipeline.from_pretrained(str(folder), **reading)
    own = json.loads((folder / "unet/config.json").read_text()).get("_class_name")
    kind = AssembledUNet if own == AssembledUNet.__name__ else UNet2DConditionModel
    unet = kind.from_pretrained(str(folder / "unet"), **reading)
    return DiffusionPipeline.from_pretrained(str(lender_of(folder)), unet=unet, **reading)


def lent_unet(folder: Path, pipe: DiffusionPipeline, *, device: str | None = None) -> UNet2DConditionModel:
    """The UNet of the pipeline in a folder, to answer some calls in place of another pipeline's.

    Raises:
        CardError: it predicts something else than the other; the sampler would take its answers for what they are not.
    """
    lender = load_pipeline(folder, device=device)
    theirs, ours = (getattr(one.scheduler.config, "prediction_type", "epsilon") for one in (lender, pipe))
    if theirs != ours:
        raise CardError(f"{folder}: its UNet predicts {theirs!r}, that of the pipeline it should help {ours!r}.")
    return lender.unet


@heap.kept()
def final_latents(
    pipe: DiffusionPipeline, prompts: Sequence[str], *, steps: int, guidance: float, seed: int = 0
) -> torch.Tensor:
    """What a pipeline would decode to pictures: one prompt a row, seeds counted from `seed`."""
    generators = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    return pipe(
        list(prompts),
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generators,
        output_type="latent",
    ).images


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and nothing below an error while a folder is loaded, then as it was."""
    loggers = [library.utils.logging for library in (diffusers, transformers)]
    before = [(logger.get_verbosity(), logger.is_progress_bar_enabled()) for logger in loggers]
    try:
        for logger in loggers:
            logger.set_verbosity_error()
            logger.disable_progress_bar()
        yield
    finally:
        for logger, (verbosity, bars) in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
            if bars:
                logger.enable_progress_bar()
