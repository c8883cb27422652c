"""The kit of clothes: what its supernet costs at least, and what it is taught."""

import torch

from intarsia import factory
from recipes.fashion.run import LOWEST, SHARES, lessons, split, supernet


def test_the_lowest_budget_leaves_something_to_choose():
    host = supernet()
    assert factory.Grounds.of(host.outline, host.answers).floor < LOWEST / 1.5
    assert min(SHARES) == LOWEST


def test_pairs_that_are_held_out_are_not_asked_for():
    parts = split()
    assert sorted(map(len, parts.values())) == [15, 30]
    held = {task.parts for task in parts["unseen"]}
    assert not held & {task.parts for task in parts["seen"]}
    torch.manual_seed(0)
    made = lessons(torch.zeros(10, 1, 1, 1), torch.arange(10))
    asked = {tuple(code.nonzero().flatten().tolist()) for draw in range(200) for code in made.tasks(draw)[2]}
    assert not held & asked
    assert len(asked & {task.parts for task in parts["seen"]}) == 30
