"""What the benchmarks of the factory claim, and that each claim can fail."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.factory import devices, floor, metering
from benchmarks.factory.claims import beside_plain, beside_rivals, of_accuracy, of_cost, of_orders, of_seconds
from benchmarks.factory.timing import STEPS


def in_seconds(**changed):
    return {"budget": 1.0, "promised": 0.9, "afresh over budget": 1.01, "measured": 2, "assemble": 0.1, "bake": 0.1,
            "convert": 0.5, "measure": 1.0, **changed}  # fmt: skip


def timing(**changed):
    return {"in seconds": in_seconds(), "over budget": False, "assemble": 0.1, "bake": 0.1, **changed}


def rival(**changed):
    return {"assemble": 0.1, "bake": 0.1, "convert": 0.3, "measure": 0.5, "ours": 0.9, "pruned equal": 0.8,
            "scratch reached": 40.0, "scratch seconds": 40.0, **changed}  # fmt: skip


DEVICE = {"spearman": 0.99, "within_10": 0.97, "training seconds": 390.0}


def failing(claims):
    return [claim.name for claim in claims if not claim.holds]


def test_budgets_that_are_not_kept_are_told():
    assert not failing(of_seconds([timing()], [DEVICE]))
    for changed, said in (
        ({"over budget": True}, "over their budget of MACs"),
        ({"in seconds": in_seconds(**{"afresh over budget": 1.2})}, "measured afresh"),
        ({"in seconds": in_seconds(measure=5.0)}, "measured model, worst"),
        ({"in seconds": in_seconds(convert=5.0)}, "measured model, worst"),
        ({"in seconds": in_seconds(measured=99)}, "models measured"),
        ({"bake": 1.0}, "assemble and bake"),
        ({"not exported": "onnx answers otherwise"}, "another runtime answers otherwise"),
    ):
        (name,) = failing(of_seconds([timing(), timing(**changed)], [DEVICE]))
        assert said in name
    refused = timing(**{"in seconds": {"budget": 1.0, "refused": 2.0}})
    assert not failing(of_seconds([timing(), refused], [DEVICE]))
    assert len(failing(of_seconds([refused], [DEVICE]))) == 2, "of no order that was met, nothing holds"
    for column, said in (("spearman", "rank correlation"), ("within_10", "within 10 %")):
        (name,) = failing(of_seconds([timing()], [DEVICE, DEVICE | {column: 0.9}]))
        assert said in name


def test_trainings_are_compared_with_both_seconds():
    first, second, paid = of_cost([rival()], [DEVICE])
    assert (first.value, second.value, paid.value) == (pytest.approx(200), pytest.approx(40), pytest.approx(10))
    given_up = of_cost([rival(**{"scratch reached": None, "scratch seconds": 120.0})], [DEVICE])
    assert given_up[0].value == pytest.approx(600)


def parts(unseen=0.01, **changed):
    """Rows of two shares, with what is lost where tasks were not seen."""
    return [
        {"seed": 0, "part": part, "share": share, "dense": 0.9, "own": own, "random": own - 0.1,
         "another's": own - 0.06, "mean": own - 0.06, **changed}
        for part, fall in (("seen", 0.0), ("unseen", unseen))
        for share, own in ((0.15, 0.86 - fall), (0.3, 0.88))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("apart", "things", "given", "plain", "said"),
    [
        (5.0, False, {}, [], []),
        (5.0, False, {}, [{"seen": 0.95}], ["30% of the MACs over that of the whole, seen", "15%"]),
        (5.0, False, {"unseen": 0.03}, [], ["unseen tasks are below seen ones, the worst share"]),
        (5.0, False, {"mean": 0.85}, [], ["above mean units"]),
        (None, False, {"mean": 0.85}, [], []),
        (None, False, {"random": 0.86}, [], ["above random units"]),
        (None, True, {"unseen": 0.03}, [], ["15% of the MACs over that of the whole, unseen"]),
    ],
)
def test_accuracy_is_kept_or_not(apart, things, given, plain, said):
    world = SimpleNamespace(kept={0.15: 0.93, 0.3: 0.97, 0.5: 1.0}, apart=apart, space=SimpleNamespace(things=things))
    names = failing(of_accuracy(world, parts(**given), plain))
    assert len(names) == len(said)
    assert all(any(part in name for name in names) for part in said)


def test_pruning_is_compared_at_every_share_where_something_has_to_go():
    rows = [rival(share=share, **{"pruned equal": pruned}) for share, pruned in ((0.3, 0.2), (0.5, 0.85), (1.0, 0.99))]
    assert not failing(beside_rivals(rows))
    rows[1]["pruned equal"] = 0.9
    assert failing(beside_rivals(rows)), "as good is not better"
    assert not beside_rivals(rows[:1])


def test_most_orders_of_seconds_are_met():
    assert not failing(of_orders([{"met": 0.6}, {"met": 0.9}]))
    assert failing(of_orders([{"met": 0.3}, {"met": 0.9}]))


def test_the_largest_model_stands_beside_a_plain_one():
    parts = [{"part": "seen", "dense": 0.9}, {"part": "unseen", "dense": 0.1}]
    assert not beside_plain(parts, [])
    assert not failing(beside_plain(parts, [{"seen": 0.92}]))
    assert failing(beside_plain(parts, [{"seen": 0.95}]))


def order(device, share, **changed):
    return {"task": "sword", "fraction": 0.5, "share of MACs": share, "promised over budget": 0.99,
            "afresh over budget": 1.0, **dict.fromkeys(STEPS, 0.5), **changed}  # fmt: skip


def rows_of(*shares, again=0.01, **changed):
    many = [
        {"kind": "device", "device": name, "spearman": 0.99, "within_10": 1.0, "fastest over dense": 0.2,
         "orders": [order(name, share, **changed)]}
        for name, share in zip("abcd"[: len(shares)], shares, strict=True)
    ]  # fmt: skip
    again = {"kind": "again", "device": "again", "orders": [order("again", shares[0] + again)]}
    beside = {"kind": "classifier", "spearman": 0.99, "within_10": 1.0}
    exported = {"kind": "exported", "to": "onnx", "apart": 1e-5}
    return [*many, again, beside, {"kind": "pack", "switch milliseconds": 2.0}, exported]


def test_devices_choose_otherwise_or_alike():
    assert not failing(devices.claims_of(rows_of(0.4, 0.5)))
    assert len(failing(devices.claims_of(rows_of(0.5, 0.5)))) == 2
    (name,) = failing(devices.claims_of(rows_of(0.4, 0.5, again=0.04)))
    assert "measured twice" in name
    assert len(failing(devices.claims_of(rows_of(0.4, 0.5, convert=5.0)))) == 2
    assert len(failing(devices.claims_of(rows_of(0.4, 0.5, **{"afresh over budget": 1.1})))) == 2
    assert devices.choices(rows_of(0.4, 0.5)[:2])[1].split()[-2:] == ["40.0%", "50.0%"]


def test_devices_that_are_one_device_do_not_choose_otherwise_by_luck():
    draws, held = np.random.default_rng(0), 0
    for _ in range(200):
        rows = rows_of(0.5, 0.5, 0.5, 0.5)
        for row in rows[:5]:  # the last was measured again
            row["orders"] = [order(row["device"], draws.normal(0.5, 0.01)) | {"fraction": at} for at in range(9)]
        held += not failing(devices.claims_of(rows))
    assert held < 5


def test_orders_that_a_device_does_not_meet_are_told():
    refused = rows_of(0.4, 0.5)
    refused[0]["orders"] = [{"task": "sword", "fraction": 0.5, "refused": 1.0}]
    claims = devices.claims_of(refused)
    assert not np.isfinite(max(claim.value for claim in claims))
    assert "a: share of its orders that were met" in failing(claims)
    assert "the same over that of one device that was measured twice" in failing(claims)
    assert devices.choices(refused[:2])[1].split()[-2:] == ["none", "50.0%"]


def test_what_is_not_exported_alike_or_not_predicted_is_claimed_and_fails():
    rows = rows_of(0.4, 0.5)
    other = [{"kind": "exported", "to": "openvino", "refused": "answers otherwise"}]
    assert failing(devices.claims_of([*rows, *other])) == ["openvino: what boxes, in pixels, or scores differ by from "
                                                           "PyTorch's"]  # fmt: skip
    rows[3]["within_10"] = 0.9
    assert failing(devices.claims_of(rows)) == ["a classifier: share of held-out models predicted within 10 %"]


def floor_row(threads=1, ratio=0.2, unfolded=1.2):
    over = {"smallest over largest": [ratio], "smallest over folded": [1.0], "largest over folded": [1.0]}
    trained = over | {"smallest over folded": [unfolded], "largest over folded": [unfolded]}
    return {"kit": "sprites", "threads": threads, "folded": over, "as trained": trained}


def test_a_floor_is_told_by_threads_and_folding_has_to_pay():
    assert not failing(floor.claims_of([floor_row(), floor_row(2)]))
    (name,) = failing(floor.claims_of([floor_row(), floor_row(2, ratio=0.3)]))
    assert "threads 2" in name
    names = failing(floor.claims_of([floor_row(), floor_row(1, unfolded=1.0), floor_row(2)]))
    assert len(names) == 2
    assert all("threads 1" in name for name in names)


def test_ways_of_telling_are_told_apart():
    draws = np.random.default_rng(0)
    own = draws.uniform(1, 2, size=40)
    raw = []
    for _ in range(8):
        pace = np.repeat(draws.normal(1, 0.1, size=4), 10)
        order = draws.permutation(40)
        raw += [(int(thing), own[thing] * pace[place]) for place, thing in enumerate(order)]
    told = {way: tell(raw) for way, tell in metering.WAYS.items()}
    off = {way: np.std(np.log(found / own)) for way, found in told.items()}
    assert off["steadied"] < min(off["median"], off["fastest"])
    assert metering.spread_of([own, 3 * own]) == pytest.approx(0), "what all have in common is no spread"
    assert metering.spread_of([own, own * draws.uniform(1, 1.2, size=40)]) > 0.02


def test_a_way_that_is_no_better_is_told():
    row = {"supernet": "tiny", "spread": {"fastest": 0.03, "median": 0.03, "steadied": 0.02},
           "error_95": {"MACs": [0.2, 0.1], "MACs and bytes": [0.1, 0.1]},
           "within_10": {"MACs and bytes": [1.0, 0.9]}}  # fmt: skip
    assert not failing(metering.claims_of([row]))
    for changed in (
        {"spread": {"fastest": 0.01, "median": 0.03, "steadied": 0.02}},
        {"error_95": {"MACs": [0.1, 0.1], "MACs and bytes": [0.1, 0.2]}},
        {"within_10": {"MACs and bytes": [0.9, 0.9]}},
    ):
        assert len(failing(metering.claims_of([row | changed]))) == 1
