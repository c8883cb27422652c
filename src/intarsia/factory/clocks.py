"""What tells the seconds of a call: the clock on the wall, or a sum that is the same on every machine."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..rig import count_macs
from ..rig.machine import machine

Machine = Mapping[str, str | int]


class Clock(Protocol):
    """Measures one call of a model."""

    @property
    def machine(self) -> Machine:
        """What its seconds depend on; devices are refused where it differs."""
        ...

    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        """Seconds of one call."""
        ...


@dataclass(frozen=True)
class WallClock:
    """The median of several calls, after others that warm up.

    Attributes:
        calls: That are timed; more are made until `least` seconds have gone by.
    """

    calls: int = 20
    warmups: int = 3
    least: float = 0.02

    @property
    def machine(self) -> Machine:
        return machine()

    @torch.inference_mode()
    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        for _ in range(self.warmups):
            model(inputs)
        taken: list[float] = []
        while len(taken) < self.calls or sum(taken) < self.least:
            began = time.perf_counter()
            model(inputs)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)


@dataclass(frozen=True)
class MacsClock:
    """So many seconds a call and so many a multiply-accumulate: for tests, and for planning without a machine."""

    each_call: float = 1e-4
    each_mac: float = 1e-9

    @property
    def machine(self) -> Machine:
        return {"device": "macs clock", "threads": 1, "torch": "any"}

    @torch.no_grad()
    def seconds(self, model: nn.Module, inputs: Tensor) -> float:
        with count_macs() as counted:
            model(inputs)
        return self.each_call + self.each_mac * counted.total
