"""A shipped ONNX model in 8 bits, by ONNX Runtime: ranges are taken from unlabelled pictures, nothing is trained.

Weights get a scale for each channel, activations one for each tensor. Unlike what else is shipped it answers otherwise
than PyTorch, so what it does to accuracy and seconds is measured, beside the model that it was made from.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FitError
from ..graphs.backends import BACKENDS, Ready
from .exams import Answered

NAME = "model.int8.onnx"
RANGES = 128  # pictures, at most, that ranges are taken from; the rest is what accuracy is told of
LEAST = 8  # pictures, for either
CALLS = 50


@dataclass(frozen=True)
class Int8:
    """What 8 bits did, by ONNX Runtime on this machine.

    Attributes:
        accuracy, accuracy_before: How good the model is, and the one in 32 bits; see `exams`.
        seconds, seconds_before: Of a call with one picture, medians of calls in turn.
        pictures: How many that was seen on; ranges were taken from others.
    """

    accuracy: float
    accuracy_before: float
    seconds: float
    seconds_before: float
    pictures: int


def halves(count: int, holds: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows of pictures to take ranges from, and of others to judge by; dealt at random, the same every time.

    Args:
        holds: (count): of things, whether a picture has one that is asked for. Each half gets some that do.

    Raises:
        FitError: too few for both.
    """
    if count < 2 * LEAST:
        raise FitError(f"{count} pictures are too few for 8 bits: {LEAST} to set ranges and {LEAST} to judge.")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    first, rest = order.tensor_split([min(RANGES, count // 2)])
    if holds is None:
        return first, rest
    if holds.sum() < 2:
        raise FitError(
            f"{int(holds.sum())} of {count} pictures holds what is asked for: 8 bits need one to set ranges and one to "
            "judge. Give it more that do."
        )
    for lacking, other in ((first, rest), (rest, first)):
        if not holds[lacking].any():
            given = holds[other].nonzero()[0, 0]
            lacking[0], other[given] = other[given].clone(), lacking[0].clone()
    return first, rest


def quantized(path: Path, ranges: Tensor, out: Path, kinds: Sequence[str] | None = None) -> None:
    """Write an ONNX model in 8 bits.

    Args:
        path: The model; one input of one picture.
        ranges: (count, channels, height, width), normalised.
        kinds: Which operators are in 8 bits; all that can be if not given.
    """
    with quiet():
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Pictures(CalibrationDataReader):
            def __init__(self) -> None:
                self.left: Iterator[dict[str, Any]] = iter({"pictures": one[None].numpy()} for one in ranges)

            def get_next(self) -> dict[str, Any] | None:
                return next(self.left, None)

        single, merged = out.with_suffix(".single"), out.with_suffix(".merged")
        try:
            onnx.save(onnx.load(path), single)  # weights in a file of their own are not found by what follows
            # Batch norms go into the convolutions before them; shapes are known, so none have to be guessed.
            quant_pre_process(str(single), str(merged), skip_symbolic_shape=True)
            quantize_static(
                str(merged), str(out), Pictures(), quant_format=QuantFormat.QDQ, per_channel=True,
                weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                op_types_to_quantize=kinds,
            )  # fmt: skip
        finally:
            single.unlink(missing_ok=True)
            merged.unlink(missing_ok=True)


@contextmanager
def quiet() -> Iterator[None]:
    """ONNX Runtime's advice goes to the root logger; it is followed already."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)


def int8_of(folder: Path, known: Answered, *, things: bool) -> Int8:
    """Write `model.int8.onnx` beside the `model.onnx` of a folder, and measure both.

    Args:
        things: The model gives boxes. They are in pixels, of which 8 bits would keep too few digits: its convolutions
            alone are in 8 bits, not what makes boxes of their answers.

    Raises:
        FitError: too few pictures, or too few that hold what is asked for.
    """
    first, rest = halves(len(known.pictures), known.holds)
    marks, shown = known.marks_of(rest), known.pictures[rest]
    quantized(folder / "model.onnx", known.pictures[first], folder / NAME, ("Conv",) if things else None)
    ready = BACKENDS["onnx"].ready
    before, after = ready(folder / "model.onnx", torch.float32), ready(folder / NAME, torch.float32)
    rights = [marks(torch.cat([run([one[None]])[0] for one in shown])) for run in (before, after)]
    took = in_turn(before, after, shown[:1])
    return Int8(rights[1], rights[0], took[1], took[0], len(shown))


def in_turn(before: Ready, after: Ready, picture: Tensor) -> tuple[float, float]:
    """Median seconds of a call of each, one after the other, so that a busy moment is unjust to neither."""
    taken = np.empty((CALLS, 2))
    for row in range(CALLS):
        for column, run in enumerate((before, after)):
            began = time.perf_counter()
            run([picture])
            taken[row, column] = time.perf_counter() - began
    return median(taken[:, 0]), median(taken[:, 1])
