"""Memory that torch frees on a CPU is kept for what it asks for next.

By default glibc gives every large block back to the system, which must clear each of its pages when it is asked for
again. That is three tenths of a step of training and a tenth of a call of a UNet as large as Stable Diffusion's; to
small models, whose blocks glibc keeps, it makes no difference (`benchmarks/results/heap.json`).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of mallopt(3): what is freed at the top of the heap goes back above so many bytes; from so many on a block is mapped
# by itself, and so many blocks may be.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
# What glibc comes to by itself once it has met large blocks; its own adjusting ends with the first call.
GIVEN_BACK = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
OWN_SAY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "glibc.malloc")

lock = threading.Lock()
inside = 0


@contextmanager
def kept() -> Iterator[None]:
    """Within it the process holds on to freed memory, as much as it ever used at once; afterwards all is given back.

    Where there is no glibc, and where the environment has a say about these things, nothing happens. May be nested, and
    entered by several threads.
    """
    global inside
    libc = glibc()
    with lock:
        inside += 1
        if inside == 1:
            tell(libc, KEPT)
    try:
        yield
    finally:
        with lock:
            inside -= 1
            if inside == 0:
                tell(libc, GIVEN_BACK)
                if libc is not None:
                    libc.malloc_trim(0)


def glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc and nobody else has tuned it."""
    said = [*os.environ, os.environ.get("GLIBC_TUNABLES", "")]
    if sys.platform != "linux" or any(name in text for name in OWN_SAY for text in said):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def tell(libc: ctypes.CDLL | None, settings: dict[int, int]) -> None:
    for name, value in settings.items():
        if libc is not None:
            libc.mallopt(name, value)
