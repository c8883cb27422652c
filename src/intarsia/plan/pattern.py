"""The two small grammars of a rule.

Rows, read from left to right: a number, a Python slice, or either after `!`, which takes them away again.
A list that starts with `!` starts from every row.

    "0:10"        the first ten
    "!::5"        all but every fifth
    "::2, !0"     every second, but not the first
    "-3:"         the last three

Sites, alternatives joined by `|`: dotted names in which `*` stands for any one name, `**` for any number of
names, and `[23]` for one of the characters. The host itself is written `host`; no wildcard matches it.

    "mid_block | up_blocks.[01]"
    "**.attentions.*"
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..errors import PlanError
from .outline import HOST

ROW = re.compile(r"^\s*(?P<but>!?)\s*(?:(?P<index>-?\d+)|(?P<start>-?\d+)?:(?P<stop>-?\d+)?(?::(?P<step>-?\d+)?)?)\s*$")


def rows_of(text: str, count: int) -> frozenset[int]:
    """The rows, out of `count`, that a row pattern names.

    Raises:
        PlanError: the pattern is not of the grammar, or names a row that does not exist.
    """
    chosen: set[int] = set()
    for place, item in enumerate(text.split(",")):
        match = ROW.match(item)
        if match is None:
            raise PlanError(
                f"rows {text!r}: cannot read {item.strip()!r}. Write a number, a slice '2:10:3', or '!' before either."
            )
        if match["index"] is not None:
            index = int(match["index"])
            if not -count <= index < count:
                raise PlanError(f"rows {text!r}: there is no row {index} in a plan of {count} rows (0 to {count - 1}).")
            found = {index % count}
        else:
            start, stop, step = (int(match[part]) if match[part] else None for part in ("start", "stop", "step"))
            if step is not None and step < 1:
                raise PlanError(f"rows {text!r}: the step of {item.strip()!r} must be 1 or more.")
            found = set(range(count)[start:stop:step])
        if match["but"]:
            chosen = (set(range(count)) if place == 0 else chosen) - found
        else:
            chosen |= found
    return frozenset(chosen)


def write_rows(rows: Iterable[int], count: int) -> str:
    """A short row pattern that names exactly these rows."""
    wanted = sorted(set(rows))
    if len(wanted) == count:
        return ":"
    runs: list[list[int]] = []
    for row in wanted:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    return ", ".join(str(low) if low == high else f"{low}:{high + 1}" for low, high in runs)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> re.Pattern[str]:
    alternatives = []
    for alternative in text.split("|"):
        name = alternative.strip()
        if not name:
            raise PlanError(f"sites {text!r}: an empty name. Names are joined by single '|'.")
        pieces = []
        for piece in re.split(r"(\*\*|\*|\[[^\[\]]+\])", name):
            if piece == "**":
                pieces.append(".*")
            elif piece == "*":
                pieces.append(r"[^.]*")
            elif re.fullmatch(r"\[[^\[\]]+\]", piece):
                pieces.append("[" + re.escape(piece[1:-1]) + "]")
            elif "[" in piece or "]" in piece:
                raise PlanError(f"sites {text!r}: {piece!r} has a bracket too many; '[23]' stands for '2' or '3'.")
            else:
                pieces.append(re.escape(piece))
        alternatives.append("".join(pieces))
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives))


def sites_of(text: str, paths: Sequence[str]) -> tuple[str, ...]:
    """The paths that a site pattern names, in the order given; `host` only when written out."""
    pattern = _compiled(text)
    names = {name.strip() for name in text.split("|")}
    found = [HOST] if HOST in names else []
    return (*found, *(path for path in paths if path != HOST and pattern.fullmatch(path)))
