"""From the calls that a sampler makes to the rows of a plan.

The row cannot be read off the time step: PNDM repeats one, Heun calls twice a step. So calls are counted.
What the time step does tell is that a new run has begun. Samplers hand out the elements of a schedule, a tensor that
they make anew for every run; and time falls during a run, and rises only when an image is started anew or a sampler
jumps back. In all these cases old features are of no use.
"""

from typing import Literal

from torch import Tensor

from ..errors import RigError
from .lanes import Lanes, same

News = Literal["run", "rise", "next step", "same step"]


class CallClock:
    """Counts host calls and says which row and lane each one is.

    Args:
        rows: Calls of one run, `hosts.rows(scheduler, steps)`.
        lanes: Calls within one row: 2 where guidance asks for the two predictions one after the other.
        told: Runs are begun by `restart`, so a first time step that is repeated is only a second call.
    """

    def __init__(self, rows: int, lanes: int = 1, *, told: bool = False) -> None:
        self.rows = rows
        self.lanes = Lanes(lanes)
        self.told = told
        self.restart()

    def restart(self) -> None:
        """The next call is the first of a run."""
        self.row = self.calls = self.cut_after_one = 0
        self.last_time: float | None = None
        self.last_step: Tensor | None = None  # held, so that no other schedule can come to lie in its place
        self.lanes.restart()

    def tick(self, time: float, step: Tensor | None = None, words: Tensor | None = None) -> tuple[int, int, bool]:
        """Take note of a call: its row, its lane, and whether it starts a run.

        Args:
            step: The time step, if it is an element of a schedule.
            words: What the call is told, mostly another tensor for each lane.

        Raises:
            RigError: the run makes more calls than the plan has rows.
        """
        news = self.news(time, step)
        if news in ("run", "rise"):
            in_vain = news == "rise" and self.row == 0 and self.rows > 1
            self.cut_after_one = self.cut_after_one + 1 if in_vain else 0
            self.row = self.calls = 0
            self.lanes.restart()
        if self.cut_after_one > 2:
            raise RigError("time rises at every call: plans are for samplers that go from noise to picture.")
        if news == "next step" and step is None and len(self.lanes.words) < self.lanes.count:
            raise RigError(
                f"{self.lanes.count} lanes were asked for, and the calls of one row came at time steps "
                f"{self.last_time:g} and {time:g}. Apply the plan with as many lanes as there are calls in a step."
            )
        lane = None if news == "next step" else self.lanes.take(words)
        if lane is None:
            self.row = self.row + 1 if self.rows > 1 else 0
            lane = self.lanes.open_row(words)
        self.last_time, self.last_step = time, step
        self.calls += 1
        if self.row >= self.rows:
            raise RigError(
                f"the plan has {self.rows} rows and this is call {self.calls} of the run ({self.lanes.count} a row). "
                "Make the plan for the calls that the sampler really makes: hosts.rows(scheduler, steps)."
            )
        return self.row, lane, self.row == 0 and len(self.lanes.called) == 1

    def news(self, time: float, step: Tensor | None) -> News:
        """What the time step of a call says has come since the last one."""
        if self.last_time is None:
            return "run"
        last = self.last_step
        if step is None or last is None:
            same_step = time == self.last_time
        elif step.untyped_storage().data_ptr() == last.untyped_storage().data_ptr():
            same_step = same(step, last)
        else:
            return "run"
        if time > self.last_time:
            return "rise"
        if not same_step:
            return "next step"
        # The first step again is the next image's, after a run cut short. Only PNDM repeats it, in image to image;
        # if no schedule tells so, its run begins once more, which is never wrong, only slower.
        first_row_done = self.row == 0 and not self.lanes.left
        return "run" if first_row_done and not self.told else "same step"
