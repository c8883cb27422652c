"""What trainings keep beside their output, so that a killed run goes on as the same run."""

import json
from pathlib import Path

from .errors import CardError
from .saving import replace_text


def keep_settings(run: Path, settings: dict[str, object]) -> None:
    """Take down what a run was begun with; a run that goes on must be the same.

    Raises:
        CardError: it was begun with other settings.
    """
    path = run / "settings.json"
    text = json.dumps(settings, indent=2, default=repr)
    if not path.exists():
        replace_text(path, text + "\n")
        return
    settings = json.loads(text)  # where tuples are lists, as in the file
    before = json.loads(path.read_text())
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        raise CardError(
            f"{run} was begun with other settings: "
            + ", ".join(f"{name} {before.get(name)!r}, now {settings[name]!r}" for name in changed)
            + ". Repeat those, name another folder, or remove that one."
        )
