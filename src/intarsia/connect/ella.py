"""The released weights of ELLA for SD 1.5, `ella-sd1.5-tsc-t5xl.safetensors`, by a map from our names to theirs."""

import re
from pathlib import Path

from ..errors import CardError
from ..tensors import fill, read_tensors
from .connector import SemanticConnector

# Ours to theirs, the first that fits. What is not here has the same name in both.
NAMES = (
    (r"^time\.", "time_embedding."),
    (r"^start$", "connector.latents"),
    (r"^start_time\.", "connector.time_aware_linear."),
    (r"^words\.", "connector.proj_in."),
    (r"^blocks\.(\d+)\.attention\.", r"connector.perceiver_blocks.\1.attn."),
    (r"^blocks\.(\d+)\.widen\.", r"connector.perceiver_blocks.\1.mlp.c_fc."),
    (r"^blocks\.(\d+)\.narrow\.", r"connector.perceiver_blocks.\1.mlp.c_proj."),
    (r"^blocks\.(\d+)\.norm_carried\.", r"connector.perceiver_blocks.\1.ln_1."),
    (r"^blocks\.(\d+)\.norm_read\.", r"connector.perceiver_blocks.\1.ln_2."),
    (r"^blocks\.(\d+)\.norm_feed\.", r"connector.perceiver_blocks.\1.ln_ff."),
)


def public_name(name: str) -> str:
    """What the released file calls a tensor of ours."""
    for ours, theirs in NAMES:
        if re.match(ours, name):
            return re.sub(ours, theirs, name)
    return name


def load_ella(path: Path) -> SemanticConnector:
    """The connector in a file of the released layout, frozen.

    Sizes are read off the tensors, all but the 8 heads, which leave no trace in them.

    Raises:
        CardError: it is no safetensors, or its tensors are not of this layout.
    """
    theirs, _ = read_tensors(path)
    try:
        latents, width = theirs["connector.latents"].shape
        time_width, time_channels = theirs["time_embedding.linear_1.weight"].shape
        words_width = theirs["connector.proj_in.weight"].shape[1]
    except (KeyError, ValueError, IndexError) as error:
        raise CardError(
            f"{path}: not ELLA's released layout ({error}); name ella-sd1.5-tsc-t5xl.safetensors."
        ) from error
    blocks = len({name.split(".")[2] for name in theirs if name.startswith("connector.perceiver_blocks.")})
    made = SemanticConnector(
        words_width, width, blocks=blocks, latents=latents, time_channels=time_channels, time_width=time_width
    )
    ours = {public_name(name): name for name in made.state_dict()}
    fill(made, {ours.get(name, name): value for name, value in theirs.items()}, path)
    return made.eval().requires_grad_(False)
