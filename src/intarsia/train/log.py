"""Training logs as JSON lines: one object a line, appended, readable while the run goes on."""

import json
from pathlib import Path


class Log:
    """Appends rows to a file; silent on all processes but one."""

    def __init__(self, path: Path, *, enabled: bool = True) -> None:
        self.path = path
        self.enabled = enabled
        if enabled:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **row: float | int | str) -> None:
        """Append one row."""
        if self.enabled:
            with self.path.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
