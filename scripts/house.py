"""The rules of the house that a script can check: who imports whom, file sizes, the changelog's version.

python scripts/house.py        prints every broken rule, one a line; exit code 1 if there is any
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "intarsia"
LONGEST = 400

# A room may import from itself and from the rooms named here. Files at the top of the package are rooms too.
MAY_IMPORT = {
    "errors": set(),
    "heap": set(),
    "saving": {"errors"},
    "tensors": {"errors"},
    "pictures": {"errors"},
    "shipped": {"errors"},
    "keeping": {"errors", "saving"},
    "plan": {"errors", "saving"},
    "rig": {"errors", "plan"},
    "parts": {"errors"},
    "hosts": {"errors", "heap", "pictures", "shipped", "plan", "rig", "parts"},
    "graphs": {"errors", "saving", "plan", "rig", "hosts"},
    "train": {"errors", "heap", "pictures"},
    "eval": {"errors", "plan", "rig", "hosts", "graphs"},
    "lighten": {"errors", "saving", "plan", "rig", "parts", "hosts", "train", "eval"},
    "connect": {"errors", "saving", "shipped", "tensors", "pictures", "plan", "rig", "parts", "hosts", "train"},
    "factory": {"errors", "saving", "keeping", "tensors", "pictures", "plan", "rig", "hosts", "graphs", "train"},
    "cli": {"errors", "saving", "keeping", "shipped", "plan", "rig", "parts", "hosts", "graphs", "train", "eval"}
    | {"heap", "pictures", "lighten", "connect", "factory", ""},
    "": {"errors", "plan"},
    "__main__": {"cli"},
}
NEVER = {"plan": {"torch", "numpy", "diffusers", "transformers"}, "errors": {"torch"}, "rig": {"diffusers"}}
ONLY_IN = {"diffusers": {"parts", "hosts", "eval", "lighten", "connect", "cli"}, "typer": {"cli"}}
ONLY_IN |= {"pydantic": {"plan", "factory"}, "timm": {"hosts"}}


def room_of(path: Path) -> str:
    """The room a file is in: its first folder, its own name at the top, '' for the package itself."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else "" if inside.stem == "__init__" else inside.stem


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Each import of a file: its line and its absolute dotted name, the names imported included."""
    package = ["intarsia", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "intarsia" and node.level:
                yield from ((node.lineno, f"intarsia.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def directions() -> Iterator[str]:
    """Imports that point the wrong way."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room, where = room_of(path), path.relative_to(ROOT)
        if room not in MAY_IMPORT:
            yield f"{where}: the room {room!r} is not on the plan of the house in scripts/house.py"
            continue
        for line, name in imports_of(path):
            first, *rest = name.split(".")
            if first == "intarsia":
                target = rest[0] if rest and rest[0] in MAY_IMPORT else ""
                if target != room and target not in MAY_IMPORT[room]:
                    yield f"{where}:{line}: {room or 'the package'} may not import {name}"
            elif first in NEVER.get(room, set()) or room not in ONLY_IN.get(first, {room}):
                yield f"{where}:{line}: {room or 'the package'} may not import {first}"


def sizes() -> Iterator[str]:
    """Files that are two files."""
    for folder in ("src", "tests", "recipes", "benchmarks", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = len(path.read_text().splitlines())
            if lines > LONGEST:
                yield f"{path.relative_to(ROOT)}: {lines} lines, more than {LONGEST}: two ideas in one file?"


def changelog() -> Iterator[str]:
    """The newest version in the changelog is the package's."""
    version = re.search(r'__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text())
    newest = re.search(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    if version is None or newest is None or version[1] != newest[1]:
        yield "CHANGELOG.md: its newest version is not the package's"


def map_of_house() -> Iterator[str]:
    """Every room is on the map in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for room in MAY_IMPORT:
        if room not in ("", "__main__") and f"{room}/" not in text and f"{room}.py" not in text:
            yield f"ARCHITECTURE.md: does not mention {room}"


if __name__ == "__main__":
    broken = [*directions(), *sizes(), *changelog(), *map_of_house()]
    print("\n".join(broken) or "the house is in order")
    sys.exit(bool(broken))
