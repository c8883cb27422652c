"""What a row's graph can run on. Each backend takes an exported program and gives a function of tensors.

Listing a new one in `BACKENDS` tests it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..errors import RigError


@dataclass(frozen=True)
class Program:
    """An exported graph and what its inputs and outputs are called."""

    exported: ExportedProgram
    inputs: Sequence[str]
    outputs: Sequence[str]


Ready = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Backend:
    """A way of running graphs.

    Attributes:
        suffix: Of the file that it keeps a converted graph in; empty if it keeps none.
        convert: Write a program to a file.
        ready: A function from a program, or from the file of one.
        package: What must be installed.
        extra: Of ours that installs it.
    """

    name: str
    suffix: str
    convert: Callable[[Program, Path, torch.dtype], None] | None
    ready: Callable[[Any, torch.dtype], Ready]
    package: str = "torch"
    extra: str = "export"

    def version(self) -> str:
        """Name and version, for keys of what is kept.

        Raises:
            RigError: the package is not installed.
        """
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"{self.name} {version(self.package)}"
        except PackageNotFoundError as error:
            raise RigError(
                f"the backend {self.name!r} needs the package {self.package!r}. "
                f"Install it with: pip install 'intarsia[{self.extra}]'"
            ) from error


def eager_ready(program: Program, dtype: torch.dtype) -> Ready:
    module = program.exported.module()
    return lambda tensors: module(*tensors)


def compiled_ready(program: Program, dtype: torch.dtype) -> Ready:
    compiled = torch.compile(program.exported.module(), fullgraph=True, dynamic=False)
    return lambda tensors: compiled(*tensors)


def onnx_convert(program: Program, path: Path, dtype: torch.dtype) -> None:
    converted = torch.onnx.export(
        program.exported, dynamo=True, verbose=False, input_names=program.inputs, output_names=program.outputs
    )
    assert converted is not None
    converted.save(path, external_data=True)


def onnx_ready(path: Path, dtype: torch.dtype) -> Ready:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        feed = dict(zip(names, (value.contiguous().numpy() for value in tensors), strict=True))
        return [torch.from_numpy(value) for value in session.run(None, feed)]

    return run


def openvino_convert(program: Program, path: Path, dtype: torch.dtype) -> None:
    known = list(program.exported.graph_signature.user_inputs)
    write_openvino(program.exported, path, program.inputs, program.outputs, dtype, known)


def write_openvino(
    source: ExportedProgram | Path,
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dtype: torch.dtype,
    known: Sequence[str] | None = None,
) -> None:
    """Convert an exported program or an ONNX file, and name what goes in and out, as `openvino_ready` reads it.

    Args:
        known: What the source calls its inputs, if not as they shall be called.
    """
    os.environ.setdefault("OPENVINO_TELEMETRY", "0")
    import openvino

    model = openvino.Core().read_model(source) if isinstance(source, Path) else openvino.convert_model(source)
    for place, port in input_places(model, known or inputs):
        port.set_names({inputs[place], f"input:{place}"})
    for port, name in zip(model.outputs, outputs, strict=True):
        port.set_names({name})
    openvino.save_model(model, path, compress_to_fp16=dtype != torch.float32)


def input_places(model: Any, known: Sequence[str]) -> list[tuple[int, Any]]:
    """Which of the known inputs each input of a converted model is: what is not looked at may be left out of it."""
    if len(model.inputs) == len(known):
        return list(enumerate(model.inputs))
    named = [
        next((known.index(name) for name in (port.node.friendly_name, *port.get_names()) if name in known), None)
        for port in model.inputs
    ]
    if None in named:
        raise RigError("openvino left out inputs of a row and does not say which; run this plan on another backend.")
    return [(place, port) for place, port in zip(named, model.inputs, strict=True) if place is not None]


def openvino_ready(path: Path, dtype: torch.dtype) -> Ready:
    import openvino

    precision = "bf16" if dtype == torch.bfloat16 else "f16" if dtype == torch.float16 else "f32"
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()

    places = [
        next(int(name.removeprefix("input:")) for name in port.get_names() if name.startswith("input:"))
        for port in compiled.inputs
    ]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        read = (tensors[place].contiguous().numpy() for place in places)
        given = [openvino.Tensor(value, shared_memory=True) for value in read]
        found = request.infer(given, share_inputs=True)
        return [torch.from_numpy(found[port].copy()) for port in compiled.outputs]

    return run


def executorch_convert(program: Program, path: Path, dtype: torch.dtype) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program.exported, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


def executorch_ready(path: Path, dtype: torch.dtype) -> Ready:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)  # held below: its memory is the method's

    def run(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        method = program.load_method("forward")  # loaded once
        assert method is not None
        return method.execute([value.contiguous() for value in tensors])

    return run


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("torch", "", None, eager_ready),
        Backend("compile", "", None, compiled_ready),
        Backend("onnx", ".onnx", onnx_convert, onnx_ready, "onnxruntime"),
        Backend("openvino", ".xml", openvino_convert, openvino_ready, "openvino"),
        Backend("executorch", ".pte", executorch_convert, executorch_ready, "executorch", "phones"),
    )
}
