"""What we know about particular models. `of` finds the host that knows a model."""

from torch import nn

from ..errors import FitError
from ..rig.contract import Host
from .diffusers_unet import UNetHost
from .sampling import Sampler as Sampler
from .sampling import first_row_below as first_row_below
from .sampling import rows as rows

# Read from top to bottom; the first that recognises a model takes it.
HOSTS = (UNetHost,)


def of(model: nn.Module, **sizes: int) -> Host:
    """The host that knows this model.

    Args:
        sizes: The input size that its outline is for, such as `batch`, `height`, `width`, `tokens` of a UNet.

    Raises:
        FitError: none does.
    """
    for host in HOSTS:
        if host.knows(model):
            return host(model, **sizes)
    known = ", ".join(host.name for host in HOSTS)
    raise FitError(f"no host knows {type(model).__name__}. Known: {known}. Pass pipe.unet, not the pipeline.")
