"""From the calls that a sampler makes to the rows of a plan.

The row cannot be read off the time step: PNDM repeats one, Heun calls twice a step. So calls are counted.
What the time step does tell is that a new run has begun: it falls during a run, and rises only when an
image is started anew or a sampler jumps back, and in both cases old features are of no use.
"""

from ..errors import RigError


class CallClock:
    """Counts host calls and says which row and lane each one is.

    Args:
        rows: Calls of one run, `hosts.rows(scheduler, steps)`.
        lanes: Calls within one row: 2 where guidance asks for the two predictions one after the other.
        told: Runs are begun by `restart`, so a first time step that is repeated is only a second call.
    """

    def __init__(self, rows: int, lanes: int = 1, *, told: bool = False) -> None:
        self.rows = rows
        self.lanes = lanes
        self.told = told
        self.restart()

    def restart(self) -> None:
        """The next call is the first of a run."""
        self.calls = 0
        self.last_time: float | None = None
        self.cut_after_one = 0

    def tick(self, time: float) -> tuple[int, int, bool]:
        """Take note of a call: its row, its lane, and whether it starts a run.

        Raises:
            RigError: the run makes more calls than the plan has rows.
        """
        first_row_done = self.calls == self.lanes
        rose = self.last_time is not None and time > self.last_time
        # No sampler repeats its first time step: the same one again is the next image's, after a run cut short.
        again = first_row_done and time == self.last_time and not self.told
        if rose or again or (self.rows == 1 and first_row_done):
            self.cut_after_one = self.cut_after_one + 1 if rose and first_row_done and self.rows > 1 else 0
            self.calls = 0
        if self.cut_after_one > 2:
            raise RigError("time rises at every call: plans are for samplers that go from noise to picture.")
        if self.calls % self.lanes and time != self.last_time:
            raise RigError(
                f"{self.lanes} lanes were asked for, and the calls of one row came at time steps "
                f"{self.last_time:g} and {time:g}. Apply the plan with as many lanes as there are calls in a step."
            )
        self.last_time = time
        row, lane = divmod(self.calls, self.lanes)
        if row >= self.rows:
            raise RigError(
                f"the plan has {self.rows} rows and this is call {self.calls + 1} of the run ({self.lanes} a row). "
                "Make the plan for the calls that the sampler really makes: hosts.rows(scheduler, steps)."
            )
        self.calls += 1
        return row, lane, row == 0 and lane == 0
