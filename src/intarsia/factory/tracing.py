"""Models traced for other runtimes: in a tenth of the seconds that exported programs take, and none slower to call.

PyTorch calls the exporter that traces deprecated; where it is gone, or does not take a model, `runtimes.convert` goes
by way of an exported program.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from ..graphs.backends import write_openvino

GIVEN, TOLD = "pictures", "answers"  # what a model's input and output are called


def traced_onnx(model: nn.Module, inputs: Tensor, path: Path) -> None:
    """Write a model as ONNX; what PyTorch has to say about that is not for whom asks for a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (inputs,), path, dynamo=False, verbose=False, input_names=[GIVEN], output_names=[TOLD])


def traced_openvino(model: nn.Module, inputs: Tensor, path: Path) -> None:
    """Write a model for OpenVINO, by way of ONNX."""
    with TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        traced_onnx(model, inputs, between)
        write_openvino(between, path, [GIVEN], [TOLD], torch.float32)


TRACED: dict[str, Callable[[nn.Module, Tensor, Path], None]] = {"onnx": traced_onnx, "openvino": traced_openvino}
