"""The kit of clothes: what its supernet costs at least, and what it is taught."""

import gzip
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import CardError, factory
from intarsia.factory.labelled import read_picture
from intarsia.keeping import keep_settings
from recipes.fashion.pictures import MEAN, SIZE, STD, read
from recipes.fashion.run import LOWEST, SHARES, SPACE, lessons, main, supernet
from recipes.kits import choices_split


def test_the_lowest_budget_leaves_something_to_choose():
    host = supernet()
    assert factory.Grounds.of(host.outline, host.answers).floor < LOWEST / 1.5
    assert min(SHARES) == LOWEST


@pytest.fixture
def data(tmp_path):
    """Two hundred plain pictures in the format of the authors' files."""
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + bytes(range(200)) * 28 * 28))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes(range(10)) * 20))
    return tmp_path


def test_a_persons_pictures_are_seen_as_those_that_were_learned_from(data, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    (data / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + drawn.tobytes()))
    Image.fromarray(drawn).save(tmp_path / "one.png")
    kit = SimpleNamespace(host=SimpleNamespace(size=(1, SIZE, SIZE)), mean=(MEAN,), std=(STD,))
    assert torch.allclose(read(data, "train")[0][0], read_picture(tmp_path / "one.png", kit), atol=1e-6)


def run(data, batch=12):
    with torch.enable_grad():
        main(
            data=data, runs=data / "runs", out=data / "kit", concepts=2, customising=2, batch=batch, minutes=None,
            tested=40, threads=1,
        )  # fmt: skip


def test_a_run_goes_on_only_as_it_began(data):
    keep_settings(data / "runs", {"batch": 24})
    with pytest.raises(CardError, match=r"begun with other settings: .*batch 24, now 12"):
        run(data)
    assert not (data / "runs/concepts").exists()


@pytest.mark.slow
def test_the_recipe_leaves_a_kit(data):
    run(data)
    assert factory.load_kit(data / "kit").space == SPACE
    assert (data / "kit/README.md").exists()


def test_choices_that_are_held_out_are_not_asked_for():
    parts = choices_split(SPACE)
    for part, sizes in (("seen", {2: 30, 3: 6, 5: 6}), ("unseen", {2: 15, 3: 4, 5: 4})):
        assert Counter(len(task.parts) for task in parts[part]) == sizes
    assert len({task for tasks in parts.values() for task in tasks}) == 65
    held = {task.parts for task in parts["unseen"]}
    assert not held & {task.parts for task in parts["seen"]}
    torch.manual_seed(0)
    made = lessons(torch.zeros(10, 1, 1, 1), torch.arange(10))
    asked = {tuple(code.nonzero().flatten().tolist()) for draw in range(200) for code in made.tasks(draw)[2]}
    assert not held & asked
    assert {task.parts for task in parts["seen"] if len(task.parts) == 2} <= asked
