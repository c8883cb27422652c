"""What we know about particular models. `of` finds the host that knows a model."""

from torch import nn

from ..errors import FitError
from ..rig.contract import Host
from .diffusers_unet import UNetHost
from .sampling import Sampler as Sampler
from .sampling import rows as rows

# Read from top to bottom; the first that recognises a model takes it.
HOSTS = (UNetHost,)


def of(model: nn.Module) -> Host:
    """The host that knows this model.

    Raises:
        FitError: none does.
    """
    for host in HOSTS:
        if host.knows(model):
            return host(model)
    known = ", ".join(host.name for host in HOSTS)
    raise FitError(f"no host knows {type(model).__name__}. Known: {known}. Pass pipe.unet, not the pipeline.")
