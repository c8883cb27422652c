"""Read an outline off a model by running it once on the meta device: shapes flow, nothing is computed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ..plan import Outline
from .bare import bare_copy
from .contract import Outlined


def outline_of(host: Outlined, **sizes: int | None) -> Outline:
    """The sites of a host with their costs at one input size.

    Args:
        sizes: As the host names them; what is not given is as the model was made for.
    """
    inputs = dict(host.inputs(**sizes))
    sites = host.sites()
    module = bare_copy(host.module).eval()  # batch norms refuse to learn from one value
    pieces = {site.path: module.get_submodule(site.path) for site in sites if site.level in ("unit", "subunit")}
    around = {site.path: host.shortcut_module(site.path) for site in sites if site.shortcut_macs is not None}
    pieces |= {path: module.get_submodule(path) for path in around.values() if path is not None}
    with on_meta(module, pieces) as (run, tallies, sizes_out, counter):
        run(inputs)

    filled = []
    for site in sites:
        if site.level in ("unit", "subunit"):
            params = sum(value.numel() for value in pieces[site.path].parameters())
            shortcut = tallies.get(around[site.path] or "", 0) if site.path in around else None
            filled.append(
                replace(
                    site,
                    macs=tallies[site.path],
                    params=params,
                    output_bytes=sizes_out[site.path],
                    shortcut_macs=shortcut,
                )
            )
        else:
            macs = sum(tallies[part] for part in site.parts)
            params = sum(value.numel() for part in site.parts for value in pieces[part].parameters())
            filled.append(replace(site, macs=macs, params=params))
    return Outline(
        host=host.name,
        inputs={name: tuple(value.shape) for name, value in inputs.items() if isinstance(value, Tensor)},
        macs=counter.get_total_flops() // 2,
        params=sum(value.numel() for value in module.parameters()),
        sites=tuple(filled),
        root=host.root,
    )


@contextmanager
def on_meta(
    module: nn.Module, pieces: Mapping[str, nn.Module]
) -> Iterator[tuple[Callable[[Mapping[str, Any]], object], dict[str, int], dict[str, int], FlopCounterMode]]:
    """Run a module without computing anything, and watch pieces of it: what they cost and hand on."""
    stateless = {
        name: value.detach().to("meta")
        for group in (module.named_parameters(), module.named_buffers())
        for name, value in group
    }
    tallies = dict.fromkeys(pieces, 0)
    sizes = dict.fromkeys(pieces, 0)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.device("meta"), counter, watched(pieces, counter, tallies, sizes):
        yield lambda inputs: functional_call(module, stateless, kwargs=dict(inputs)), tallies, sizes, counter


def module_macs(model: nn.Module, inputs: Mapping[str, Tensor], paths: Collection[str]) -> dict[str, int]:
    """What each of these modules costs in one call, everything inside it included.

    Args:
        inputs: By name, on the meta device.
    """
    module = bare_copy(model).eval()
    pieces = {path: module.get_submodule(path) for path in paths}
    with on_meta(module, pieces) as (run, tallies, _, _):
        run(inputs)
    return tallies


@contextmanager
def watched(
    pieces: Mapping[str, nn.Module], counter: FlopCounterMode, macs: dict[str, int], sizes: dict[str, int]
) -> Iterator[None]:
    """Note what each piece costs and hands on while a model runs under `counter`."""

    def before(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object) -> None:
            macs[path] -= counter.get_total_flops() // 2

        return hook

    def after(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: object) -> None:
            macs[path] += counter.get_total_flops() // 2
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                sizes[path] = first.numel() * first.element_size()

        return hook

    handles = [piece.register_forward_pre_hook(before(path)) for path, piece in pieces.items()]
    handles += [piece.register_forward_hook(after(path)) for path, piece in pieces.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
