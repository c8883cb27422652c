"""What every benchmark writes: where it ran, what it saw, and what it claims."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions, version
from pathlib import Path

from intarsia.rig.machine import machine
from recipes.shipping import commit

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "diffusers", "transformers", "numpy")
BESIDE = ("timm", "torch-pruning", "DeepCache", "tgate", "tomesd", "openvino", "onnxruntime")  # told where installed


@dataclass(frozen=True)
class Claim:
    """One figure that is held against a target."""

    name: str
    value: float
    target: str
    holds: bool


def at_least(name: str, value: float, target: float) -> Claim:
    return Claim(name, value, f"at least {target}", value >= target)


def above(name: str, value: float, target: float) -> Claim:
    return Claim(name, value, f"above {target}", value > target)


def at_most(name: str, value: float, target: float) -> Claim:
    return Claim(name, value, f"at most {target}", value <= target)


def versions() -> dict[str, str]:
    """What a figure may depend on, rivals included."""
    known = {found.name for found in distributions()}
    return {library: version(library) for library in (*LIBRARIES, *(one for one in BESIDE if one in known))}


def write_result(
    name: str, rows: Sequence[Mapping[str, object]], claims: Sequence[Claim], settings: Mapping[str, object]
) -> Path:
    """Write `results/<name>.json`, over an older one; quick runs go to `results/quick/`, which git ignores."""
    folder = RESULTS / "quick" if settings.get("quick") else RESULTS
    here = machine()
    result = {
        "benchmark": name,
        "device": here["device"],
        "threads": here["threads"],
        "versions": versions(),
        "commit": commit(),
        "settings": dict(settings),
        "claims": [asdict(claim) for claim in claims],
        "rows": [dict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)
    for claim in claims:
        print(f"{'holds' if claim.holds else 'FAILS'}  {claim.name}: {claim.value:.4g} ({claim.target})")
    print(f"wrote {path}")
    return path
