"""The package as a whole: what importing it brings, and that the house is in order."""

import subprocess
import sys
from pathlib import Path

import pytest

import intarsia

ROOT = Path(__file__).parents[1]


def test_importing_brings_no_torch():
    code = "import sys, intarsia; heavy = {'torch', 'numpy', 'diffusers'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_documented():
    for name, thing in vars(intarsia).items():
        if not name.startswith("_") and getattr(thing, "__module__", "").startswith("intarsia"):
            assert thing.__doc__, name


def test_the_house_is_in_order():
    ran = subprocess.run([sys.executable, ROOT / "scripts/house.py"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import torch", "plan may not import torch"),
        ("from ..rig import applied", "plan may not import intarsia.rig"),
        ("from intarsia.hosts import of", "plan may not import intarsia.hosts"),
    ],
)
def test_the_house_notices(line, says, tmp_path, monkeypatch):
    """The check above can fail: a wrong import in a copy of the tree is found."""
    import shutil

    copy = tmp_path / "house"
    for folder in ("src/intarsia/plan", "scripts"):
        shutil.copytree(ROOT / folder, copy / folder)
    for name in ("ARCHITECTURE.md", "CHANGELOG.md", "src/intarsia/__init__.py"):
        shutil.copy(ROOT / name, copy / name)
    wrong = copy / "src/intarsia/plan/actions.py"
    wrong.write_text(f"{line}\n{wrong.read_text()}")
    ran = subprocess.run([sys.executable, copy / "scripts/house.py"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert says in ran.stdout
