"""Pictures with captions in a folder, as people keep them: a `metadata.jsonl` with a line for each picture.

It is the convention of `imagefolder` in Hugging Face's `datasets`, with columns of ours beside `file_name` and `text`.
"""

import json
from pathlib import Path

from ..errors import CardError
from ..pictures import opened

LISTED = "metadata.jsonl"
EXAMPLES = {"file_name": "fox.png", "text": "a fox in the snow", "reference": "painting.png"}
PICTURES = ("file_name", "reference")


def read_rows(folder: Path, *columns: str) -> list[dict[str, str]]:
    """The lines of a folder's `metadata.jsonl`, in order; columns that name pictures hold paths of ones that open.

    Args:
        columns: Wanted in every line: "file_name", "text", "reference". More are passed over.

    Raises:
        CardError: there is no such file, or lines of it are wrong; every problem is told, with its line.
    """
    listed = folder / LISTED
    if not listed.is_file():
        example = json.dumps({name: EXAMPLES[name] for name in columns})
        raise CardError(f"{folder}: no {LISTED} in it. Write one line a picture: {example}.")
    rows, wrong = [], []
    known: dict[Path, str | None] = {}
    for number, line in enumerate(listed.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found = {name: row[name] for name in columns}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            needed = " and ".join(repr(name) for name in columns)
            wrong.append(f"{listed}:{number}: needs {needed}: {error!r}")
            continue
        strange = [name for name, value in found.items() if not isinstance(value, str)]
        wrong += [f"{listed}:{number}: {name!r} should be text, and is {found[name]!r}" for name in strange]
        for name in PICTURES:
            if name in found and name not in strange:
                path = folder / found[name]
                if path not in known:
                    known[path] = fault_of(path)
                if known[path]:
                    wrong.append(f"{listed}:{number}: {known[path]}")
                found[name] = str(path)
        rows.append(found)
    if wrong or not rows:
        raise CardError("\n".join(wrong) or f"{listed} is empty.")
    return rows


def fault_of(path: Path) -> str | None:
    """Why a picture cannot be used, or None if it can."""
    if not path.is_file():
        return f"there is no {path.name!r} in {path.parent}"
    try:
        opened(path)
    except CardError:
        return f"{path} is not a picture that can be read"
    return None
