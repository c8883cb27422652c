"""Shut units off in the whole model, live: what a baked one answers, without baking it.

Source: NN-Factory (Xu et al. 2023): modules of a supernet that are conditionally activated. Gates stand after the
activation and before the reader, where a unit that is shut off and one that was never there are the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import FitError
from .contract import Gate, UnitHost


@contextmanager
def gated(host: UnitHost, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiply what units hand on inside the block; hooks, gone on the way out.

    Args:
        masks: By site, (units) for all samples alike or (batch, units) for each its own: 1 to keep, 0 to shut off.
            Anything between is possible while training.

    Raises:
        FitError: a mask is for no site with a gate, or of another number of units.
    """
    gates, units = host.gates, {site.path: site.units for site in host.outline.sites}
    for path, mask in masks.items():
        if path not in gates:
            raise FitError(f"{path!r} has no gate. Gates: {', '.join(gates)}.")
        if mask.ndim not in (1, 2) or mask.shape[-1] != units[path]:
            raise FitError(f"the mask of {path!r} is of shape {tuple(mask.shape)}; the site has {units[path]} units.")
    handles = []
    try:
        for path, mask in masks.items():
            handles += [shut(host.module.get_submodule(gate.module), gate, mask) for gate in gates[path]]
        yield
    finally:
        for handle in handles:
            handle.remove()


def shut(module: nn.Module, gate: Gate, mask: Tensor) -> RemovableHandle:
    """Multiply what a module is given, or what it hands on."""
    wide = mask.repeat_interleave(gate.width, dim=-1)

    def multiplied(given: Tensor) -> Tensor:
        shape = [1] * given.ndim
        shape[gate.axis] = wide.shape[-1]
        if wide.ndim == 2:
            shape[0] = len(wide)
        return given * wide.to(given).reshape(shape)

    if gate.after:
        return module.register_forward_hook(lambda _module, _args, output: multiplied(output))
    return module.register_forward_pre_hook(lambda _module, args: (multiplied(args[0]), *args[1:]))
