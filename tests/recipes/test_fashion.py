"""The kit of clothes: what its supernet costs at least, and what it is taught."""

import gzip

import torch
import typer
from typer.testing import CliRunner

from intarsia import CardError, factory
from recipes.fashion.run import LOWEST, SHARES, SPACE, lessons, main, split, supernet


def test_the_lowest_budget_leaves_something_to_choose():
    host = supernet()
    assert factory.Grounds.of(host.outline, host.answers).floor < LOWEST / 1.5
    assert min(SHARES) == LOWEST


def test_the_recipe_leaves_a_kit_and_goes_on_only_as_it_began(tmp_path):
    data, runs, out = tmp_path / "data", tmp_path / "runs", tmp_path / "kit"
    data.mkdir()
    for part in ("train", "t10k"):
        (data / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + bytes(range(200)) * 28 * 28))
        (data / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes(range(10)) * 20))
    words = ["--data", data, "--runs", runs, "--out", out, "--concepts", 2, "--customising", 2, "--tested", 40]
    recipe = typer.Typer()
    recipe.command()(main)

    def call(*more):
        with torch.enable_grad():
            return CliRunner().invoke(recipe, [str(word) for word in (*words, *more)])

    assert call().exception is None
    assert factory.load_kit(out).space == SPACE
    assert {"README.md", "kit.json"} <= {path.name for path in out.iterdir()}
    refused = call("--batch", 12).exception
    assert isinstance(refused, CardError)
    assert "begun with other settings: batch 96, now 12" in str(refused)


def test_pairs_that_are_held_out_are_not_asked_for():
    parts = split()
    assert sorted(map(len, parts.values())) == [15, 30]
    held = {task.parts for task in parts["unseen"]}
    assert not held & {task.parts for task in parts["seen"]}
    torch.manual_seed(0)
    made = lessons(torch.zeros(10, 1, 1, 1), torch.arange(10))
    asked = {tuple(code.nonzero().flatten().tolist()) for draw in range(200) for code in made.tasks(draw)[2]}
    assert not held & asked
    assert len(asked & {task.parts for task in parts["seen"]}) == 30
