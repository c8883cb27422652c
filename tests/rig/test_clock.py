"""From calls to rows."""

import pytest

from intarsia import RigError
from intarsia.rig import CallClock


def ticks(clock, times):
    return [clock.tick(time) for time in times]


def test_repeated_time_steps_are_rows_of_their_own():
    assert ticks(CallClock(4), [9, 8, 8, 7]) == [(0, 0, True), (1, 0, False), (2, 0, False), (3, 0, False)]


def test_lanes_share_a_row():
    assert [tick[:2] for tick in ticks(CallClock(2, lanes=2), [9, 9, 8, 8])] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_time_going_up_starts_a_run():
    clock = CallClock(3)
    assert [tick[2] for tick in ticks(clock, [9, 8, 9, 8, 7, 9])] == [True, False, True, False, False, True]


def test_one_row_is_every_call():
    assert [tick[0] for tick in ticks(CallClock(1), [9, 8, 7])] == [0, 0, 0]


def test_too_many_calls():
    clock = CallClock(2)
    ticks(clock, [9, 8])
    with pytest.raises(RigError, match="2 rows and this is call 3"):
        clock.tick(7)
    clock.restart()
    assert clock.tick(7) == (0, 0, True)
