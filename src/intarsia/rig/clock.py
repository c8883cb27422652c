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
    """

    def __init__(self, rows: int, lanes: int = 1) -> None:
        self.rows = rows
        self.lanes = lanes
        self.restart()

    def restart(self) -> None:
        """The next call is the first of a run."""
        self.calls = 0
        self.last_time: float | None = None

    def tick(self, time: float) -> tuple[int, int, bool]:
        """Take note of a call: its row, its lane, and whether it starts a run.

        Raises:
            RigError: the run makes more calls than the plan has rows.
        """
        rose = self.last_time is not None and time > self.last_time
        if rose or (self.rows == 1 and self.calls == self.lanes):
            self.calls = 0
        self.last_time = time
        row, lane = divmod(self.calls, self.lanes)
        if row >= self.rows:
            raise RigError(
                f"the plan has {self.rows} rows and this is call {self.calls + 1} of the run ({self.lanes} a row). "
                "Make the plan for the calls that the sampler really makes: hosts.rows(scheduler, steps)."
            )
        self.calls += 1
        return row, lane, row == 0 and lane == 0
