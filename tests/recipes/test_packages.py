"""Packages are brought once, by however many processes."""

import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from recipes.base import packages


@pytest.fixture
def registry(monkeypatch):
    """Packs a package of one file; what it does before it answers can be set."""
    asked = SimpleNamespace(names=[], meanwhile=lambda: None)

    def pack(words, cwd, **_):
        asked.names.append(words[-1])
        asked.meanwhile()
        inside = Path(cwd) / "inside"
        inside.write_text("held")
        with tarfile.open(Path(cwd) / "one.tgz", "w:gz") as tar:
            tar.add(inside, "package/held.txt")
        return SimpleNamespace(stdout="one.tgz\n")

    monkeypatch.setattr(subprocess, "run", pack)
    return asked


def test_a_package_is_brought_once_and_nothing_else_is_left(registry, tmp_path):
    for _ in range(2):
        packages.bring(tmp_path / "data", ["@scope/one@1.0.0"])
    assert registry.names == ["@scope/one@1.0.0"]
    assert (tmp_path / "data/scope-one/held.txt").read_text() == "held"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["scope-one"]


def test_two_processes_may_bring_the_same(registry, tmp_path):
    def another():
        (tmp_path / "one").mkdir()
        (tmp_path / "one/held.txt").write_text("theirs")

    registry.meanwhile = another
    packages.bring(tmp_path, ["one@1.0.0"])
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one/held.txt").read_text() == "theirs"
