"""Load a stock diffusers pipeline from a folder. Nothing is downloaded and no pickle is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline

from ..errors import CardError

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
            pipe = DiffusionPipeline.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
            pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), dtype)
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        AttributeError,
        TypeError,
        AssertionError,
        ImportError,
    ) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise CardError(f"{folder}: diffusers cannot load it: {said}") from error
    if not hasattr(pipe, "unet") or not hasattr(pipe, "tokenizer"):
        raise CardError(f"{folder}: a {type(pipe).__name__}, which has no UNet or no tokenizer. Plans are for UNets.")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and nothing below an error while a folder is loaded, then as it was."""
    loggers = [(library.utils.logging, library.utils.logging.get_verbosity()) for library in (diffusers, transformers)]
    try:
        for logger, _ in loggers:
            logger.set_verbosity_error()
            logger.disable_progress_bar()
        yield
    finally:
        for logger, verbosity in loggers:
            logger.set_verbosity(verbosity)
            logger.enable_progress_bar()
