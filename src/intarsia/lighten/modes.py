"""Time modes: in which rows everything is computed, the *key* rows; the others inherit.

A mode is a function that returns the key rows of a run, sorted. Row 0 is always one. Rows are calls of the
host, so a mode means the same for samplers that call it more often than the steps asked for.

Source: A-SDM's "sampling modes at the time-step level"; which modes those are is not public, so the list is
ours, with precedents named at each.
"""

import inspect
from collections.abc import Callable, Sequence

from ..errors import PlanError

Keys = tuple[int, ...]


def uniform(rows: int, every: int, offset: int = 0) -> Keys:
    """Every `every`-th row (DeepCache), the first at `offset`."""
    check(1 <= every <= rows, f"every={every}: name a number from 1 (all compute) to {rows}, the rows of the plan")
    check(0 <= offset < every, f"offset={offset}: name a number from 0 to {every - 1}")
    return keys_of(rows, range(offset, rows, every))


def even(rows: int, count: int) -> Keys:
    """`count` rows as evenly spread as whole numbers allow; uniform where `count` divides the rows."""
    check(1 <= count <= rows, f"count={count}: name a number from 1 to {rows}, the rows of the plan")
    return keys_of(rows, [round(place * rows / count) for place in range(count)])


def front(rows: int, count: int) -> Keys:
    """`count` rows, dense at the beginning (Faster Diffusion's default)."""
    return power(rows, count, centre=0)


def back(rows: int, count: int) -> Keys:
    """`count` rows, dense at the end; row 0 is one of them."""
    return power(rows, count, centre=rows - 1)


def middle(rows: int, count: int) -> Keys:
    """`count` rows, dense around the middle."""
    return power(rows, count, centre=rows // 2)


def ends(rows: int, first: int, last: int, every: int) -> Keys:
    """The first and the last rows, and every `every`-th between (pyramid attention broadcast)."""
    check(min(first, last) >= 0 and first + last <= rows, f"first={first}, last={last}: together more than {rows} rows")
    check(every >= 1, f"every={every}: name a number from 1")
    return keys_of(rows, [*range(first), *range(first, rows - last, every), *range(rows - last, rows)])


def power(rows: int, count: int, centre: int, exponent: float = 2.0) -> Keys:
    """`count` rows whose distances from `centre` grow as a power (DeepCache's non-uniform interval).

    Distances are spread as `exponent` says and pushed apart to whole, distinct rows, so that exactly `count`
    are named whatever the exponent.
    """
    check(1 <= count <= rows, f"count={count}: name a number from 1 to {rows}, the rows of the plan")
    check(0 <= centre < rows, f"centre={centre}: there is no such row")
    check(exponent > 0, f"exponent={exponent}: name a number above 0")
    before = round((count - 1) * centre / max(1, rows - 1))
    after = count - 1 - before
    left = spread(centre, before, exponent)
    right = spread(rows - 1 - centre, after, exponent)
    chosen = sorted({centre, *(centre - d for d in left), *(centre + d for d in right)})
    if 0 not in chosen:
        chosen[0] = 0  # the outermost row moves to where a run must begin
    return keys_of(rows, chosen)


def spread(room: int, count: int, exponent: float) -> list[int]:
    """`count` distinct distances from 1 to `room`, dense near 1."""
    distances: list[int] = []
    for place in range(1, count + 1):
        wished = round(room * (place / (count + 1)) ** exponent)
        least = distances[-1] + 1 if distances else 1
        distances.append(min(max(wished, least), room - count + place))
    return distances


def bins(rows: int, compute: Sequence[int], reuse: Sequence[int]) -> Keys:
    """So many rows computed, so many reused, in turn (cache-dit's step masks); what is left over computes."""
    check(len(compute) >= 1 and len(compute) - len(reuse) in (0, 1), "bins: one 'reuse' after each 'compute'")
    check(min([*compute, *reuse]) >= 1, "bins: every number is 1 or more")
    check(sum(compute) + sum(reuse) <= rows, f"bins: {sum(compute) + sum(reuse)} rows in all, more than {rows}")
    mask: list[bool] = []
    for place, number in enumerate(compute):
        mask += [True] * number + [False] * (reuse[place] if place < len(reuse) else 0)
    mask += [True] * (rows - len(mask))
    return keys_of(rows, [row for row, key in enumerate(mask) if key])


def explicit(rows: int, keys: Sequence[int]) -> Keys:
    """Exactly these rows."""
    return keys_of(rows, keys)


def keys_of(rows: int, chosen: Sequence[int] | range) -> Keys:
    """Sorted and distinct, row 0 among them."""
    wrong = [row for row in chosen if not 0 <= row < rows]
    check(not wrong, f"row {wrong[0] if wrong else ''}: there are only the rows 0 to {rows - 1}")
    return tuple(sorted({0, *chosen}))


def check(holds: bool, complaint: str) -> None:
    if not holds:
        raise PlanError(f"{complaint}.")


# Read top to bottom; the command and the tests know whatever stands here.
MODES: dict[str, Callable[..., Keys]] = {
    "uniform": uniform,
    "even": even,
    "front": front,
    "middle": middle,
    "back": back,
    "ends": ends,
    "power": power,
    "bins": bins,
    "explicit": explicit,
}


def read(text: str, rows: int) -> Keys:
    """A mode as people write it: `even:count=8`, `ends:first=3,last=2,every=4`, `bins:compute=6/1/1,reuse=1/3`.

    Raises:
        PlanError: no such mode, or not its settings.
    """
    name, _, rest = text.partition(":")
    if name not in MODES:
        raise PlanError(f"no time mode is called {name!r}: {', '.join(MODES)}.")
    known = list(inspect.signature(MODES[name]).parameters.values())[1:]
    usage = f"{name}:{','.join(f'{one.name}=...' for one in known)}"
    settings: dict[str, object] = {}
    for part in filter(None, rest.split(",")):
        setting, _, value = part.partition("=")
        kind = next((str(one.annotation) for one in known if one.name == setting.strip()), None)
        if kind is None:
            raise PlanError(f"--mode {text!r}: {name} has no setting {setting.strip()!r}. Write it as {usage}")
        try:
            many = [int(number) for number in value.split("/")] if "Sequence" in kind else None
            settings[setting.strip()] = many or (float(value) if "float" in kind else int(value))
        except ValueError as error:
            raise PlanError(f"--mode {text!r}: {value!r} is not a number. Write it as {usage}") from error
    missing = [one.name for one in known if one.default is one.empty and one.name not in settings]
    if missing:
        raise PlanError(f"--mode {text!r}: {missing[0]} is missing. Write it as {usage}")
    return MODES[name](rows, **settings)
