"""Freed memory is kept while it is wanted, and given back afterwards."""

import os
from pathlib import Path

import pytest
import torch

from intarsia import heap

BLOCK = 256 << 20  # bytes


def held() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def after_a_block() -> int:
    """What is held once a large block was used and freed."""
    block = torch.zeros(BLOCK, dtype=torch.uint8)
    del block
    return held()


@pytest.fixture
def _untuned(monkeypatch):
    for name in (*heap.OWN_SAY, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    if heap.glibc() is None:
        pytest.skip("not a machine with glibc")


@pytest.mark.usefixtures("_untuned")
def test_freed_memory_is_kept_inside_and_given_back_outside():
    before = held()
    with heap.kept():
        with heap.kept():
            assert after_a_block() - before > 0.9 * BLOCK
        assert held() - before > 0.9 * BLOCK  # until the outermost ends
    assert held() - before < 0.1 * BLOCK
    assert after_a_block() - before < 0.1 * BLOCK


@pytest.mark.usefixtures("_untuned")
@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=1")]
)
def test_who_tuned_the_heap_is_left_alone(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    before = held()
    with heap.kept():
        assert after_a_block() - before < 0.1 * BLOCK
