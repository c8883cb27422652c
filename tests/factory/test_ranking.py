"""Rankings, cuts and tasks: what the order of words, the budget and the numbers of units may change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia import FitError
from intarsia.factory import Assembler, Budget, Grounds, Ranking, Space, codes_of
from intarsia.plan import cost

from .conftest import COLOURS, KINDS

SPACE = Space(COLOURS, {"cool": ("green", "blue", "cyan")})


def ranking_of(kit, seed):
    return Ranking.by_score(kit.grounds, np.random.default_rng(seed).normal(size=len(kit.grounds.site_of)), (0, 2))


def within(kit):
    """The blocks that can be left out, and the sites inside them."""
    outline = kit.grounds.outline
    return {path for block in kit.host.blocks for path in (block, *outline.by_path[block].parts)}


@pytest.mark.parametrize("seed", range(3))
def test_every_beginning_costs_what_the_outline_says(kit, seed):
    ranking = ranking_of(kit, seed)
    for length in range(ranking.least, len(ranking.order) + 1, 7):
        kept = ranking.kept(length)
        assert all(kept[path] for path in kept if path not in within(kit))
        exact = cost(kit.grounds.outline, {path: len(units) for path, units in kept.items()})
        for name in ("macs", "params", "bytes"):
            assert ranking.costs[name][length - ranking.least] == getattr(exact, name)
    assert sorted(ranking.order) == list(range(len(kit.grounds.site_of)))


@pytest.mark.parametrize("seed", range(3))
def test_tighter_budgets_nest_and_cost_less(kit, seed):
    ranking = ranking_of(kit, seed)
    longer = np.diff(ranking.ends[ranking.least :]) > 0
    assert np.array_equal(np.diff(ranking.costs["macs"]) > 0, longer)
    before: dict = dict.fromkeys(ranking.kept(len(ranking.order)), ())
    for share in np.linspace(0.05, 1, 30):
        kept = ranking.kept(ranking.cut_at_share(share))
        assert all(set(before[path]) <= set(units) for path, units in kept.items())
        before = kept
    assert before == ranking.kept(len(ranking.order))


@pytest.mark.parametrize("fixture", KINDS)
def test_a_block_is_there_with_a_quarter_of_each_site_or_not_at_all(fixture, request):
    kit = request.getfixturevalue(fixture)
    outline, left_out = kit.grounds.outline, 0
    assert kit.host.blocks
    for seed in range(5):
        ranking = ranking_of(kit, seed)
        for length in range(ranking.least, len(ranking.order) + 1):
            kept = ranking.kept(length)
            for block in kit.host.blocks:
                inside = [(len(kept[path]), outline.by_path[path].units) for path in outline.by_path[block].parts]
                assert all(count >= units / 4 if kept[block] else count == 0 for count, units in inside)
                left_out += not kept[block]
    assert left_out


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_parts_what_is_chosen_from_what_is_left_out(kit, seed):
    """Units that have to be there may score low, and say nothing of it."""
    ranking = ranking_of(kit, seed)
    assert ranking.threshold(len(ranking.order)) == -np.inf
    forced = ranking.beginning(ranking.least)
    for length in np.unique(ranking.ends[ranking.least : -1]):
        kept = ranking.beginning(length)
        chosen, out = np.setdiff1d(kept, forced), np.setdiff1d(np.arange(len(ranking.order)), kept)
        threshold = ranking.threshold(length)
        assert max(ranking.worth[out]) <= threshold <= min(ranking.worth[chosen], default=np.inf)
        assert np.isfinite(threshold)


def test_a_cut_ends_before_the_first_that_is_not_afforded(kit):
    ranking = ranking_of(kit, 0)
    afforded = np.ones(len(ranking.counts), bool)
    assert ranking.cut(afforded) == len(ranking.order)
    afforded[3] = False
    assert ranking.cut(afforded) == ranking.least + 2
    afforded[0] = False
    assert ranking.cut(afforded) is None


@given(st.permutations(COLOURS), st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_the_order_of_words_cannot_matter(words, count):
    task = SPACE.read(", ".join(words[:count]))
    assert task == SPACE.read(" ,".join(word.upper() for word in sorted(words[:count])))


def test_one_ranking_a_task_to_the_bit(kit):
    tasks = [kit.space.read("red, blue"), kit.space.read("pink, cyan, grey"), kit.space.read("blue,red")]
    first, second, again = kit.assembler.rank(tasks, kit.grounds)
    assert np.array_equal(first.order, again.order)
    assert not np.array_equal(first.order, second.order)
    alone = kit.assembler.rank(tasks[:1], kit.grounds)[0]
    assert np.array_equal(first.order, alone.order)
    codes = codes_of(tasks, len(COLOURS))
    assert torch.equal(codes[0], codes[2])


def test_words_become_tasks():
    assert SPACE.spoken(SPACE.read("Cool, red")) == ("red", "green", "blue", "cyan")
    assert SPACE.read("all").answers == (0, 1, 2, 3, 4, 5)
    assert SPACE.spoken(SPACE.read("all but cool, pink")) == ("red", "grey")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("read, blu", "there is no 'read'. Nearest: 'red'"),
        ("red, blu", "there is no 'blu'. Nearest: 'blue'. Known: red, green, blue, cyan, pink, grey, cool."),
        ("red,, blue", "a name is missing"),
        ("", "a name is missing"),
        ("red", "a choice between two answers or more, not 1"),
        ("all but cool, pink, red", "not 1"),
    ],
)
def test_words_that_are_no_task(words, says):
    with pytest.raises(FitError) as refusal:
        SPACE.read(words)
    assert says in str(refusal.value)


@pytest.mark.parametrize("names", [("shirt, top", "bag"), ("all", "bag"), ("", "bag"), ("all but one", "bag")])
def test_names_that_nobody_can_ask_for(names):
    with pytest.raises(FitError, match="nobody can ask for the name"):
        Space(names)


def test_budgets_and_assemblers_that_are_none():
    with pytest.raises(FitError, match="a budget bounds something"):
        Budget()
    with pytest.raises(FitError) as refusal:
        Budget(seconds=-1, macs=float("nan"))
    assert len(refusal.value.problems) == 2
    with pytest.raises(FitError, match="more than 1000000"):
        Assembler(10, 5000, 256)
    assert sum(value.numel() for value in Assembler(62, 2500).parameters()) <= 1_000_000


def test_groups_of_parts_are_scored_one_by_one():
    assembler = Assembler(5, 40, groups=[(0, 1), (2, 3, 4)])
    assembler.alike = torch.nn.Identity()
    count, colours = torch.tensor([[1.0, 0, 0, 0, 0]]), torch.tensor([[0.0, 0, 1, 1, 0]])
    both, alone = assembler(count + colours), assembler(count) + assembler(colours)
    assert torch.allclose(both, alone, atol=1e-6)
    assembler.groups = torch.ones(1, 5)
    assert not torch.allclose(assembler(count + colours), assembler(count) + assembler(colours), atol=0.1)


def test_an_assembler_of_another_supernet_is_refused(kit):
    with pytest.raises(FitError, match="scores 3 units, and the supernet has"):
        Assembler(6, 3).rank([kit.space.read("red, blue")], Grounds.of(kit.host.outline, kit.host.answers))
