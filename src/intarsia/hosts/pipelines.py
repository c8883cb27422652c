"""Load a stock diffusers pipeline from a folder. Nothing is downloaded and no pickle is read."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from ..errors import CardError


def load_pipeline(folder: Path, *, device: str | None = None, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """The pipeline in a folder, ready to run.

    Args:
        device: CUDA where there is one, if not given.

    Raises:
        CardError: diffusers cannot read what is in the folder.
    """
    try:
        pipe = DiffusionPipeline.from_pretrained(
            str(folder), torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise CardError(f"{folder}: diffusers cannot load it: {str(error).splitlines()[0]}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
