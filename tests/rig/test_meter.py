"""Counting and timing."""

import time

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from intarsia import rig


def test_a_matrix_product_is_counted():
    with rig.count_macs() as macs:
        torch.empty(3, 5, device="meta") @ torch.empty(5, 7, device="meta")
    assert (macs.total, macs.attention_products) == (3 * 5 * 7, 0)


def test_attention_is_counted_both_ways():
    query = torch.empty(1, 2, 6, 4, device="meta")
    with rig.count_macs() as macs:
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert macs.total == macs.attention_products == 2 * 2 * 6 * 6 * 4


def test_candidates_take_turns():
    order = []

    def call(name, seconds):
        order.append(name)
        time.sleep(seconds)

    seconds = rig.measure_seconds({"a": lambda: call("a", 0.01), "b": lambda: call("b", 0.03)}, rounds=3)
    assert order == ["a", "b"] * 4
    median, low, high = seconds.ratio("b")
    assert 1 < low <= median <= high
    assert seconds.speedup("b") == 1 / median
    assert seconds.ratio("a") == (1, 1, 1)


@pytest.mark.parametrize("kernels", [[SDPBackend.MATH], [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]])
@pytest.mark.parametrize("keys", [64, 24])
def test_whichever_kernel_a_processor_has_for_attention_is_counted(kernels, keys):
    query, key = torch.randn(2, 4, 64, 32), torch.randn(2, 4, keys, 32)
    with torch.no_grad(), sdpa_kernel(kernels), rig.count_macs() as macs:
        F.scaled_dot_product_attention(query, key, key)
    assert macs.total == macs.attention_products == 2 * (2 * 4 * 64 * keys * 32)
