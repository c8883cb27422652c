"""From a kind of row to an exported program, with nothing of the walk left in it."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import hosts
from ..plan import Table
from ..rig import Host
from ..rig.bare import bare_copy
from .backends import Program
from .kinds import Kind, Kinds
from .row_graph import CallForm, RowGraph, shapes_of


def exported(table: Table, host: Host, kind: Kind, form: CallForm, given: Sequence[Tensor]) -> Program:
    """One kind of row for calls of one form.

    Args:
        given: The tensors of such a call, then the told values.
    """
    with torch.no_grad():
        whole = RowGraph(table, host, Kind(Kinds(table).whole.settled, (), ()), form, {})
        shapes = shapes_of(whole, given[: len(given) - len(kind.recalled)])
        graph = RowGraph(table, host, kind, form, shapes).eval()
        return Program(torch.export.export(graph, tuple(given), strict=False), graph.input_names, graph.output_names)


def for_export(host: Host, *, single: bool) -> Host:
    """A host of the same weights that nobody else calls.

    Args:
        single: Whether its weights shall be in single precision, for converters that are at home there.
    """
    wanted = single and any(value.dtype != torch.float32 for value in host.module.parameters())
    module = bare_copy(host.module, share=not wanted)
    return hosts.of(module.float() if wanted else module)


def digest_of(module: nn.Module) -> str:
    """A fingerprint of every weight."""
    whole = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()
