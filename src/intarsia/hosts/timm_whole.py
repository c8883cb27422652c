"""What stays whole in a supernet because no unit is in it: blocks that we do not follow, and layers between blocks."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from torch import Tensor, nn

from ..rig.outlining import module_macs
from .timm_units import Units

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # whose names tell nobody what is in them
REAL = 0.01  # the share of the MACs that modules of one kind have together, or they are not worth telling


def unfollowed(
    model: nn.Module, inputs: Mapping[str, Tensor], units: Collection[Units], told: Collection[str]
) -> dict[str, str]:
    """The largest modules that no unit is in, of kinds that have a real share of the MACs; and of which kind each is.

    Args:
        inputs: Of the model, by name, on the meta device.
        told: Paths of modules of which it is known already why they stay whole.
    """
    layers = {layer for site in units for layer in (*(maker for maker, _ in site.makers), *site.readers)}
    kinds = dict(without(model, "", {*layers, *told}))
    macs = module_macs(model, inputs, ("", *kinds))
    together = Counter[str]()
    for path, kind in kinds.items():
        together[kind] += macs[path]
    return {
        path: f"{kind}, which we do not follow; all such have {together[kind] / macs['']:.0%} of the MACs"
        for path, kind in kinds.items()
        if together[kind] >= REAL * macs[""]
    }


def without(module: nn.Module, path: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """The largest modules inside one with none of the known in them: their paths and kinds."""
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if inner in known:
            continue
        if isinstance(child, CONTAINERS) or any(one.startswith(f"{inner}.") for one in known):
            yield from without(child, inner, known)
        else:
            yield inner, type(child).__name__
