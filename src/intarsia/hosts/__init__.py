"""What we know about particular models. `of` finds the host that knows a model; supernets have their own file."""

from torch import nn

from ..errors import FitError
from ..rig.compiled import refuse_compiled
from ..rig.contract import Host
from .sampling import Sampler as Sampler
from .sampling import first_row_below as first_row_below
from .sampling import rows as rows


def of(model: nn.Module, **sizes: int) -> Host:
    """The host that knows this model.

    Args:
        sizes: The input size that its outline is for, such as `batch`, `height`, `width`, `tokens` of a UNet.

    Raises:
        FitError: none does.
        RigError: the model is compiled.
    """
    refuse_compiled(model)
    from .diffusers_unet import UNetHost  # here, for diffusers takes seconds to import and supernets want none of it

    hosts = (UNetHost,)  # read from top to bottom; the first that recognises a model takes it
    for host in hosts:
        if host.knows(model):
            return host(model, **sizes)
    known = ", ".join(host.name for host in hosts)
    raise FitError(f"no host knows {type(model).__name__}. Known: {known}. Pass pipe.unet, not the pipeline.")
