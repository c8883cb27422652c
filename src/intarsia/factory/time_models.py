"""Time ONNX models on the machine at hand. Needs Python, numpy and ONNX Runtime; nothing of what wrote the models.

python time_models.py --threads 1              # the models beside this file, as 'intarsia meter --export' wrote them
python time_models.py model.onnx --threads 1   # one model: says its milliseconds

Of a folder, times.json is written into it: 'intarsia meter --times times.json' makes a device file of that.
"""

from __future__ import annotations  # for the Pythons that are found on small machines

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

CALLS, WARMUPS, LEAST = 20, 3, 0.02  # timed calls, others before them, and seconds that the timed ones last at least
ROUNDS, SHARE = 4, 0.5  # of a folder's models, and the share of those calls that is made in each
MANIFEST, TIMES = "subnets.json", "times.json"


def processor() -> str:
    """The processor's name, as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Hardware")))
    return next(named, platform.processor() or platform.machine())


def seconds_of(path: Path, threads: int, share: float = 1) -> float:
    """The median seconds of a call with noise; of so much of the calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(0)
    feed = {one.name: draws.normal(size=one.shape).astype(np.float32) for one in session.get_inputs()}
    for _ in range(WARMUPS):
        session.run(None, feed)
    taken: list[float] = []
    while len(taken) < share * CALLS or sum(taken) < share * LEAST:
        began = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def time_folder(folder: Path, threads: int) -> None:
    """Time every model that the manifest lists, in several rounds, and keep what was found, in the order of time."""
    out = folder / TIMES
    if out.exists():
        sys.exit(f"{out} exists, and nothing was measured. Remove it first.")
    manifest = json.loads((folder / MANIFEST).read_text())
    paths = [folder / one["file"] for one in manifest["subnets"]]
    shuffled, measured = random.Random(0), []
    places = [place for _ in range(ROUNDS) for place in shuffled.sample(range(len(paths)), len(paths))]
    for done, place in enumerate(places, start=1):
        measured.append([place, seconds_of(paths[place], threads, SHARE)])
        print(f"\r{done} of {len(places)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    machine = {"device": processor(), "threads": threads, "runtime": f"onnx {onnxruntime.__version__}"}
    part = out.with_suffix(".part")
    part.write_text(json.dumps({"intarsia": "times/2", "machine": machine, "measured": measured, "of": manifest}))
    part.replace(out)
    print(f"wrote {out}")


def main() -> None:
    """Time what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="?", type=Path, default=Path(__file__).parent, help="a folder, or one model")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.threads < 1:
        parser.error(f"--threads {asked.threads}: give it one or more.")
    if asked.models.is_file():
        print(f"{1000 * seconds_of(asked.models, asked.threads):.4g} ms")
    elif (asked.models / MANIFEST).exists():
        time_folder(asked.models, asked.threads)
    else:
        sys.exit(
            f"{asked.models}: no {MANIFEST} in it. Name a folder that 'intarsia meter --export' wrote, or a model."
        )


if __name__ == "__main__":
    main()
