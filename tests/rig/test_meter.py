"""Counting and timing."""

import time

import torch

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
