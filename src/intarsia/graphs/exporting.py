"""From a kind of row to an exported program, with nothing of the walk left in it."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .. import hosts
from ..plan import Table
from ..rig import Host
from .backends import Program
from .kinds import Kind, Kinds
from .row_graph import CallForm, RowGraph, shapes_of


def exported(table: Table, host: Host, kind: Kind, form: CallForm, given: Sequence[Tensor]) -> Program:
    """One kind of row for calls of one form.

    Args:
        given: The tensors of such a call, then the told values.
    """
    with bare(host.module), torch.no_grad():
        whole = RowGraph(table, host, Kind(Kinds(table).whole.settled, (), ()), form, {})
        shapes = shapes_of(whole, given[: len(given) - len(kind.recalled)])
        graph = RowGraph(table, host, kind, form, shapes).eval()
        return Program(torch.export.export(graph, tuple(given), strict=False), graph.input_names, graph.output_names)


def in_single_precision(host: Host) -> Host:
    """The host, or a copy of it in single precision if it is in another."""
    if all(value.dtype == torch.float32 for value in host.module.parameters()):
        return host
    with bare(host.module):
        return hosts.of(copy.deepcopy(host.module).float())


@contextmanager
def bare(module: nn.Module) -> Iterator[None]:
    """The module without a forward or hooks put on it: what is exported is the model, not the walk."""
    walk = ("forward", "_forward_hooks", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")
    kept = {name: module.__dict__[name] for name in walk if name in module.__dict__}
    module.__dict__.pop("forward", None)
    module.__dict__.update({name: type(hooks)() for name, hooks in kept.items() if name != "forward"})
    try:
        yield
    finally:
        module.__dict__.update(kept)


def digest_of(module: nn.Module) -> str:
    """A fingerprint of every weight."""
    whole = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()
