"""The kit of clothes: what its supernet costs at least, and what it is taught."""

from intarsia import factory
from recipes.fashion.run import LOWEST, SHARES, supernet


def test_the_lowest_budget_leaves_something_to_choose():
    host = supernet()
    assert factory.Grounds.of(host.outline, host.answers).floor < LOWEST / 1.5
    assert min(SHARES) == LOWEST
