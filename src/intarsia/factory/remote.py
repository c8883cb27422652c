"""Devices that are elsewhere: subnets go there as ONNX with a script that times them, and times come back.

subnets.json      of which supernet they are, and what each keeps
00.onnx, ...      the subnets
time_models.py    needs Python, numpy and ONNX Runtime there; writes times.json
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from ..errors import CardError, FitError
from ..hosts.timm_supernet import TimmSupernet
from ..rig import peak_bytes
from ..saving import new_folder
from .device import Device
from .drift import steadied
from .metering import Subnets, device_from, picture_for
from .ranking import Grounds
from .runtimes import convert

SCRIPT = "time_models.py"
STRICT = ConfigDict(extra="forbid")


@checked(config=STRICT, frozen=True)
class _Subnet:
    """One model: its file, the units that each site keeps, and bytes alive at once in a call."""

    file: str
    counts: tuple[int, ...]
    memory: PositiveInt


@checked(config=STRICT, frozen=True)
class _Manifest:
    intarsia: Literal["subnets/1"]
    host: str
    inputs: dict[str, tuple[int, ...]]
    sites: tuple[str, ...]
    subnets: tuple[_Subnet, ...]


@checked(config=STRICT, frozen=True)
class _Times:
    """What the script writes."""

    intarsia: Literal["times/2"]
    machine: dict[str, str | int]
    measured: tuple[tuple[int, float], ...]
    of: _Manifest


def copy_script(folder: Path) -> None:
    """Put the script that times models beside them."""
    shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)


def export_subnets(
    host: TimmSupernet,
    out: Path,
    *,
    subnets: int = 60,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write the subnets that a device is measured by, for a machine that has neither PyTorch nor us.

    Args:
        subnets: 50 to 64 are enough.
        tell: Told how many have been written.

    Raises:
        OutputExists: something stands at `out`.
        FitError: too few subnets for a fit, or more than anyone would wait for.
        RigError: ONNX Runtime is not installed.
    """
    drawn, inputs = Subnets.stratified(host, subnets, seed), picture_for(host, seed)
    listed: list[dict[str, Any]] = []
    with new_folder(out) as part:
        for number, counts in enumerate(drawn.counts.tolist()):
            model, file = drawn.made(number), f"{number:02}.onnx"
            convert(model, inputs, "onnx", part / file)
            listed.append({"file": file, "counts": counts, "memory": peak_bytes(model, inputs)})
            tell(number + 1)
        manifest = {
            "intarsia": "subnets/1", "host": host.outline.shape_hash, "inputs": dict(host.outline.inputs),
            "sites": Grounds.of(host.outline, host.answers).sites, "subnets": listed,
        }  # fmt: skip
        (part / "subnets.json").write_text(json.dumps(manifest) + "\n")
        copy_script(part)
    return out


def read_times(path: Path, host: TimmSupernet) -> Device:
    """The device that a file of the script's is of.

    Raises:
        CardError: it is no such file.
        FitError: the subnets were not of this supernet, or of another input size.
    """
    try:
        times = TypeAdapter(_Times).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CardError(f"{path}: not what {SCRIPT} writes: {where}: {first['msg']}.") from None
    of, seconds = times.of, np.array([seconds for _, seconds in times.measured])
    numbers = {number for number, _ in times.measured}
    if numbers != {*range(len(of.subnets))} or not (np.isfinite(seconds) & (seconds > 0)).all():
        raise CardError(
            f"{path}: times of {len(numbers)} of {len(of.subnets)} subnets, each of them more than nothing?"
        )
    grounds, outline = Grounds.of(host.outline, host.answers), host.outline
    inputs = {name: tuple(shape) for name, shape in outline.inputs.items()}
    if (of.host, of.sites, of.inputs) != (outline.shape_hash, grounds.sites, inputs):
        raise FitError(
            f"{path}: the subnets were of the supernet {of.host} at {of.inputs}, this one is {outline.shape_hash} at "
            f"{inputs}. Export its own: 'intarsia meter --export'."
        )
    lengths = {len(one.counts) for one in of.subnets}
    if lengths != {len(grounds.sites)} or not grounds.allows(counts := np.array([one.counts for one in of.subnets])):
        raise CardError(f"{path}: the units that its subnets keep are not those of a supernet with its sites.")
    memory = np.array([one.memory for one in of.subnets], float)
    return device_from(host, counts, steadied(times.measured), memory, times.machine, remote=True)
