"""What a measurement of seconds depends on: the device, threads, the version of torch."""

import platform
from collections.abc import Mapping
from pathlib import Path

import torch


def machine(device: str = "cpu") -> Mapping[str, str | int]:
    """The machine as results and caches name it."""
    on_cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if on_cuda else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """The processor's name, as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
