"""From calls to rows."""

import pytest
import torch

from intarsia import RigError
from intarsia.rig import CallClock

WITH, WITHOUT = torch.zeros(1), torch.zeros(1)


def ticks(clock, times):
    return [clock.tick(time) for time in times]


def scheduled(clock, schedule, words):
    """Row and lane of calls at the elements of a schedule; `words` says who calls at each."""
    return [
        clock.tick(float(step), step, told)[:2] for step, both in zip(schedule, words, strict=True) for told in both
    ]


def test_repeated_time_steps_are_rows_of_their_own():
    assert ticks(CallClock(4), [9, 8, 8, 7]) == [(0, 0, True), (1, 0, False), (2, 0, False), (3, 0, False)]


def test_lanes_share_a_row():
    assert [tick[:2] for tick in ticks(CallClock(2, lanes=2), [9, 9, 8, 8])] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_time_going_up_starts_a_run():
    clock = CallClock(3)
    assert [tick[2] for tick in ticks(clock, [9, 8, 9, 8, 7, 9])] == [True, False, True, False, False, True]


def test_another_schedule_starts_a_run():
    clock = CallClock(3)
    began = [clock.tick(float(step), step)[2] for times in ([9, 8, 7], [7], [5, 5, 3]) for step in torch.tensor(times)]
    assert began == [True, False, False, True, True, False, False]


@pytest.mark.parametrize("told", [False, True])
def test_the_first_step_again_starts_a_run_unless_runs_are_told(told):
    """PNDM repeats it in image to image, but then it is another element of the schedule."""
    first, again, _ = torch.tensor([9, 9, 8])
    for steps, row in (((None, None), int(told)), ((first, first), int(told)), ((first, again), 1)):
        clock = CallClock(3, told=told)
        assert [clock.tick(9, step)[0] for step in steps] == [0, row]


def test_one_row_is_every_call():
    assert [tick[0] for tick in ticks(CallClock(1), [9, 8, 7])] == [0, 0, 0]


def test_too_many_calls():
    clock = CallClock(2)
    ticks(clock, [9, 8])
    with pytest.raises(RigError, match="2 rows and this is call 3"):
        clock.tick(7)
    clock.restart()
    assert clock.tick(7) == (0, 0, True)


def test_a_lane_that_stops_closes_its_rows_early():
    clock = CallClock(4, lanes=2)
    assert [tick[:2] for tick in ticks(clock, [9, 9, 8, 7])] == [(0, 0), (0, 1), (1, 0), (2, 0)]


@pytest.mark.parametrize("first", [WITH, WITHOUT], ids=["with words first", "without words first"])
@pytest.mark.parametrize(
    "lone",
    [(), (2, 3), (0, 1), (0, 1, 2, 3), (1, 3)],
    ids=["never", "cut off", "late", "always", "now and then"],
)
def test_a_lane_is_known_by_its_words(first, lone):
    """Whoever comes first, and in whichever steps the prediction without words is left out; time steps repeat."""
    both = (WITH, WITHOUT) if first is WITH else (WITHOUT, WITH)
    words = [(WITH,) if step in lone else both for step in range(4)]
    found = scheduled(CallClock(4, lanes=2), torch.tensor([9, 8, 8, 7]), words)
    assert [row for row, _ in found] == [step for step, calls in enumerate(words) for _ in calls]
    asked = [told is WITH for calls in words for told in calls]
    lanes = [lane for _, lane in found]
    assert len(set(zip(asked, lanes, strict=True))) == len(set(asked)) == len(set(lanes))


@pytest.mark.parametrize("words", [lambda: None, lambda: torch.zeros(1), lambda: WITH], ids=["none", "new", "alike"])
def test_lanes_that_words_do_not_tell_apart_go_by_order(words):
    told = [(words(), words()) for _ in range(3)]
    found = scheduled(CallClock(3, lanes=2), torch.tensor([9, 8, 8]), told)
    assert found == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
