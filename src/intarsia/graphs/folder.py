"""A plan's graphs as a folder that needs nothing of us: one file per kind of row, and a list of the rows.

`rows.json` tells for each row which graph answers, from which earlier rows each told value is summed and with
which weights, and what is remembered afterwards (`conv_out` is the answer itself). Where no graph is named, nothing is
left to compute: the answer is what is told of `conv_out`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import RigError
from ..plan import Plan, Table, resolve
from ..rig import Host
from ..saving import new_folder
from .backends import BACKENDS
from .exporting import exported, for_export
from .kinds import Kind, Kinds
from .row_graph import CallForm, RowGraph, shapes_of


def write_graphs(
    plan: Plan, host: Host, backend: str, out: Path, *, say: Callable[[str], None] = lambda text: None, **sizes: int
) -> list[Path]:
    """Convert every kind of row of a plan.

    Args:
        backend: One that keeps files: `onnx` or `openvino`.
        sizes: Of one call, as for `Host.inputs`: batch, height, width, tokens.

    Returns:
        The files of graphs.

    Raises:
        RigError: the backend keeps no files, or its package is not installed.
        OutputExists: something stands at `out`.
    """
    chosen = BACKENDS.get(backend)
    if chosen is None or chosen.convert is None:
        raise RigError(f"graphs are written for {', '.join(name for name, one in BACKENDS.items() if one.convert)}.")
    chosen.version()
    host = for_export(host, single=True)
    table = resolve(plan, host.outline)
    call = pytree.tree_map(real, dict(host.inputs(**sizes)))
    form, tensors = CallForm.of(host.module, (), call)
    kinds = Kinds(table)
    distinct = list(dict.fromkeys(kind for kind in kinds.of_row if kind is not None))
    files = {kind: f"kind-{number}{chosen.suffix}" for number, kind in enumerate(distinct)}
    shapes = shapes_of(RowGraph(table, host, Kind(kinds.whole.settled, (), ()), form, {}), tensors)
    with new_folder(out) as part:
        for number, kind in enumerate(distinct):
            say(f"converting row kind {number}: {len(kind.settled.computed)} units")
            given = [*tensors, *(torch.zeros(shapes[path]) for path in kind.recalled)]
            program = exported(table, host, kind, form, given)
            chosen.convert(program, part / files[kind], torch.float32)
        listed = {
            "inputs": {name: list(shape) for name, (shape, _) in zip(form.names, form.shapes, strict=True)},
            "rows": rows_of(table, [None if kind is None else files[kind] for kind in kinds.of_row]),
        }
        (part / "rows.json").write_text(json.dumps(listed, indent=1) + "\n")
    return sorted(out.glob(f"*{chosen.suffix}"))


def real(value: Any) -> Any:
    """A tensor of zeros where there was one without values; time steps may be fractions, so they are no integers."""
    if not isinstance(value, Tensor):
        return value
    return torch.zeros(value.shape, dtype=value.dtype if value.is_floating_point() or value.dim() else torch.float32)


def rows_of(table: Table, graphs: Sequence[str | None]) -> list[Mapping[str, Any]]:
    """The walk, row by row."""
    computed: dict[str, list[int]] = {}
    rows: list[Mapping[str, Any]] = []
    for row, (settled, kept) in enumerate(zip(table.flows, table.kept, strict=True)):
        told = {}
        for path, action in sorted(settled.recalled.items()):
            sources = computed[path][: action.forecast.depth]
            weights = action.forecast.weights(row, sources)
            told[path] = {"rows": sources[: len(weights)], "weights": list(weights)}
        for path in settled.running:
            computed[path] = [row, *computed.get(path, [])]
        rows.append({"graph": graphs[row], "told": told, "keep": dict(sorted(kept.items()))})
    return rows
