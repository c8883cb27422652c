"""Seconds that were measured one after another, as if the machine had kept one pace.

Machines are a tenth faster or slower for some ten seconds at a time: others share their memory and their heat. That
shows in what was measured just before and after, for all of these are then above or below what they mostly are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .fitting import Array

BESIDE = 4  # measurements on either side that tell the pace of a moment
STEPS = 5  # from one guess of the pace to the next


def steadied(measured: Sequence[tuple[int, float]]) -> Array:
    """Seconds of each thing, (things), by number: the median of its measurements, each over the pace of its moment.

    Of an even number of measurements, the lower of the middle two: what is said beside the pace says too much.

    Args:
        measured: The number of a thing and its seconds, in the order of time; each thing several times, if it can be.
    """
    numbers, things = np.unique([number for number, _ in measured], return_inverse=True)
    logs = np.log([seconds for _, seconds in measured])
    pace = np.zeros_like(logs)
    for _ in range(STEPS):
        own = np.array(
            [np.quantile((logs - pace)[things == thing], 0.5, method="lower") for thing in range(len(numbers))]
        )
        moments = np.pad(logs - own[things], BESIDE, mode="edge")
        pace = np.median(sliding_window_view(moments, 2 * BESIDE + 1), axis=1)
        pace -= np.median(pace)
    return np.exp(own)
