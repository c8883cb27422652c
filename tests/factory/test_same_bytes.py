"""The same order gives the same bytes, however it is worded and however many threads a process has."""

import subprocess
import sys

import pytest

from intarsia import factory

CODE = """
import sys, torch
from pathlib import Path
from intarsia import factory
kit, words, out, threads = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
kit = factory.load_kit(kit)
order = factory.Order(kit.space.read(words), factory.Budget(macs=0.6 * kit.host.outline.macs))
factory.ship(order, factory.fulfil(order, kit), kit, out)
assert torch.get_num_threads() == threads
"""


@pytest.mark.parametrize(
    ("which", "words", "again"),
    [
        ("deep_kit", "red, pink, grey", "GREY,  pink, red"),
        pytest.param("thing_kit", "red bar", "Bar, red", marks=pytest.mark.slow),
    ],
)
def test_processes_and_threads_decide_nothing(which, words, again, request, tmp_path):
    factory.save_kit(request.getfixturevalue(which), tmp_path / "kit")
    for out, said, threads in (("one", words, 1), ("two", again, 2)):
        told = (tmp_path / "kit", said, tmp_path / out, threads)
        subprocess.run([sys.executable, "-c", CODE, *map(str, told)], check=True)
    for name in ("model.safetensors", "recipe.json", "plan.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
