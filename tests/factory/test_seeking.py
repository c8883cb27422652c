"""A kit for things: from annotated pictures to a detector that finds what it is asked for."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import FitError, factory, rig
from intarsia.factory import Budget, Order, Space
from intarsia.factory.boxes import BOX, Things, fitting
from intarsia.factory.coco import Annotated, Pictures, read_coco
from intarsia.factory.cuts import by_site, masks_of
from intarsia.factory.detecting import detect
from intarsia.factory.exams import own_answers
from intarsia.factory.task import groups_mask
from intarsia.factory.thing_lessons import space_of, thing_lessons
from intarsia.graphs.backends import BACKENDS
from intarsia.hosts import timm_supernet

from .conftest import call, parts_of

SIZE = (3, 64, 64)
COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220)}
MEAN = STD = (0.5,) * 3
LOWEST = 0.55
GROUPS = groups_mask([[0, 1], [2, 3]], 4)  # squares and bars, blue and red


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A folder in COCO's format: red and blue squares and bars on grey."""
    root = tmp_path_factory.mktemp("things")
    draws = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "bar"}]}
    for number in range(24):
        canvas = draws.integers(100, 150, (64, 64, 3)).astype(np.uint8)
        for place in range(2):
            kind, colour = int(draws.integers(2)), str(draws.choice(list(COLOURS)))
            width, height = ((16, 16), (26, 9))[kind]  # none is lower than a cell
            left, top = int(draws.integers(0, 64 - width)), 32 * place + int(draws.integers(0, 32 - height))
            canvas[top : top + height, left : left + width] = COLOURS[colour]
            content["annotations"].append({
                "id": len(content["annotations"]), "image_id": number, "category_id": kind + 1,
                "bbox": [left, top, width, height], "attributes": {"colour": colour},
            })  # fmt: skip
        Image.fromarray(canvas).save(root / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def supernet(names):
    torch.manual_seed(0)
    return timm_supernet.create(
        "anchor_free_detector", SIZE, grain=4, backbone="test_efficientnet", num_classes=names, width=16, depth=1
    )


def trained(things, out, concepts, customising):
    read = read_coco(things / "annotations.json")
    host = supernet(len(read.names))
    with torch.enable_grad():
        return factory.learned(
            host, space_of(read), thing_lessons(read, host, mean=MEAN, std=STD, batch=12, tasks=3), out, lowest=LOWEST,
            concepts=concepts, customising=customising, mean=MEAN, std=STD,
        )  # fmt: skip


@pytest.fixture(scope="module")
def kit(things, tmp_path_factory):
    return trained(things, tmp_path_factory.mktemp("run"), 2, 2)


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):
    place = tmp_path_factory.mktemp("kits") / "things"
    factory.save_kit(kit, place)
    return place


def test_words_become_things():
    groups = (("red sword", "sword", "traffic light"), ("red", "blue"))
    space = Space(groups[0] + groups[1], {"any colour": ()}, groups=groups, things=True)
    read = {words: space.spoken(space.read(words)) for words in (
        "blue sword", "Traffic Light, red", "red sword", "red, sword", "any colour sword", "red blue traffic light",
    )}  # fmt: skip
    assert list(read.values()) == [
        ("sword", "blue"), ("traffic light", "red"), ("red sword",), ("sword", "red"), ("sword",),
        ("traffic light", "red", "blue"),
    ]  # fmt: skip
    assert space.groups_of(("sword", "red", "blue")) == ((0,), (1, 2))
    with pytest.raises(FitError, match=r"there is no 'sward'\. Nearest: 'sword'"):
        space.read("red sward")
    with pytest.raises(FitError, match="name what it must be"):
        space.read("any colour")
    with pytest.raises(FitError, match="Red, red do not"):
        Space(("Red", "blue", "red"))
    with pytest.raises(FitError, match="'warm' stands for 'green', which is no name"):
        Space(("red", "blue"), {"warm": ("red", "green")})
    with pytest.raises(FitError, match="put each into one group"):
        Space(("red", "blue"), groups=(("red",),), things=True)


def test_a_kit_of_things_keeps_its_promises(kit, folder, tmp_path):
    back = factory.load_kit(folder)
    assert back.space == kit.space
    task = back.space.read("red square")
    order = Order(task, Budget(macs=0.6 * back.host.outline.macs))
    done = factory.fulfil(order, back)
    assert done.costs["macs"] <= 0.6 * back.host.outline.macs
    ranking = back.assembler.rank([task], back.grounds)[0]
    length = ranking.cut(ranking.costs["macs"] <= done.costs["macs"])
    pictures = torch.randn(2, *SIZE)
    with torch.no_grad(), rig.gated(back.host, by_site(back.grounds, masks_of([ranking], [length]).expand(2, -1))):
        wanted = own_answers(back.space, back.host.module(pictures), task)
    assert wanted.shape[2] == BOX + 2
    assert torch.allclose(wanted, done.model(pictures), atol=1e-4)
    factory.ship(order, done, back, tmp_path / "out", ["onnx", "openvino"])
    built = factory.rebuild(tmp_path / "out")
    assert built.answers == ("square", "red")
    assert built.groups == ((0,), (1,))
    assert torch.equal(built.model(pictures), done.model(pictures))


def test_every_batch_asks_for_what_is_there(things):
    read = read_coco(things / "annotations.json")
    torch.manual_seed(0)
    made = thing_lessons(read, supernet(4), mean=MEAN, std=STD, batch=12, tasks=3)
    met, kinds = 0, set()
    for draw in range(20):
        pictures, boxes, names, tasks = made.tasks(draw)
        assert pictures.shape == (12, *SIZE)
        asked = (tasks[:, None] * GROUPS).repeat_interleave(4, 0)
        fits = (fitting(names, asked) > 0) & (boxes[..., 2] > boxes[..., 0])
        met += int(fits.any(1).sum())
        assert boxes.min() >= 0
        assert boxes.max() <= 64
        for row, column in fits.nonzero().tolist():  # where a red thing is said to be, there is red
            left, top, right, bottom = boxes[row, column].int().tolist()
            seen = pictures[row, :, (top + bottom) // 2, (left + right) // 2]
            said = "red" if names[row, column, read.names.index("red")] else "blue"
            assert torch.allclose(seen, torch.tensor(COLOURS[said]) / 127.5 - 1, atol=0.02)
    assert met > 0.75 * 240
    for draw in range(20, 100):
        kinds |= {tuple(code.int().tolist()) for code in (made.tasks(draw)[3][:, None] * GROUPS).sum(2)}
    assert kinds == {(1, 0), (1, 1), (0, 1), (1, 2), (2, 0)}, "classes and colours that are asked for at once"


@pytest.mark.alone
def test_lessons_for_thousands_of_pictures_are_at_hand(monkeypatch):
    many = [Things(torch.tensor([[0.0, 0, 8, 8]] * 3), torch.eye(4)[[0, 1, 1]] + torch.eye(4)[[2, 2, 3]])] * 5000
    home = sys.modules["intarsia.factory.thing_lessons"]  # a function goes by the same name
    none = Things(torch.zeros(0, 4), torch.zeros(0, 4))
    monkeypatch.setattr(home, "letterboxed", lambda one, _size: (torch.zeros(3, 8, 8).byte(), one.things, none))
    read = Pictures((("square", "bar"), ("red", "blue")), tuple(Annotated(Path(), one, none) for one in many))
    made = thing_lessons(read, supernet(4), mean=MEAN, std=STD, batch=12, tasks=12)
    began = time.perf_counter()
    for draw in range(5):
        made.tasks(draw)
    assert time.perf_counter() - began < 1  # a scan of all pictures for each task takes longer


def test_things_learn_without_what_is_for_answers(things, tmp_path):
    read = read_coco(things / "annotations.json")
    for told in ({"begins": 0.9}, {"probe": torch.nn.Identity()}):
        with pytest.raises(FitError, match="leave out 'probe' and 'begins'"):
            factory.learned(
                supernet(4), space_of(read), None, tmp_path, lowest=LOWEST, concepts=1, customising=1, **told
            )


def test_full_marks_for_the_truth_alone():
    space = Space(("square", "bar", "red", "blue"), groups=(("square", "bar"), ("red", "blue")), things=True)
    true = torch.tensor([[4.0, 4, 20, 20], [30, 30, 60, 50]])
    marks = factory.thing_marks(space, space.read("red bar"), SIZE, [true, true[:0]])
    said = torch.zeros(2, 3, BOX + 2)
    said[..., BOX:] = -20
    said[0, :2, :BOX], said[0, :2, BOX:] = true, 4
    assert marks(said) == pytest.approx(1)
    for height, least, most in ((12.0, 0.9, 1.1), (8.0, 0.4, 0.6)):  # of 20: more than half of a box, and less
        said[0, 1, :BOX] = torch.tensor([30.0, 30, 60, 30 + height])
        assert least < marks(said) < most
    said[0, 1, :BOX] = torch.tensor([0.0, 40, 8, 60])  # where nothing is
    assert 0.4 < marks(said) < 0.6
    said[1, 0, :BOX], said[1, 0, BOX:] = true[0], 30  # surer, where there is nothing
    assert 0.2 < marks(said) < 0.3


def test_from_the_shell(folder, things, tmp_path):
    code, out, _ = call("fulfil", folder, "--detect", "blue bar", "--macs", "6M", "-o", tmp_path / "out")
    assert code == 0
    assert "finds: bar, blue" in out
    picture = tmp_path / "large.png"
    Image.open(things / "0.png").resize((200, 100)).save(picture)
    code, out, _ = call("detect", tmp_path / "out", picture, "--least", 0, "-o", tmp_path / "found.png")
    assert code == 0
    assert "bar, blue: " in out
    with Image.open(tmp_path / "found.png") as drawn:
        assert drawn.size == (800, 400)
    Image.open(things / "0.png").resize((4000, 1)).save(strip := tmp_path / "strip.png")
    assert call("detect", tmp_path / "out", strip, "-o", tmp_path / "found-strip.png")[0] == 0
    with Image.open(tmp_path / "found-strip.png") as drawn:
        assert drawn.size == (4000, 1)
    code, out, _ = call("fulfil", folder, "--macs", "6M", "-o", tmp_path / "no")
    assert code == 2
    assert "--detect" in out
    assert "say --detect" in call("fulfil", folder, "--task", "bar", "--macs", "6M", "-o", tmp_path / "no")[2]
    code, out, _ = call("detect", tmp_path / "out", picture, "-o", tmp_path / "found.jpg")
    assert code == 2
    assert "PNG" in out
    code, out, _ = call(
        "frontier", folder, "--task", "red square", "--pictures", things, "--points", 2, "-o", tmp_path / "frontier"
    )
    assert code == 0
    assert "average precision at 55%" in out


def test_eight_bits_keep_boxes_to_the_pixel(thing_kit, things, tmp_path):
    factory.save_kit(thing_kit, tmp_path / "kit")
    words = ("--detect", "bar", "--macs", "6M", "--int8", things, "-o", tmp_path / "out")
    code, out, refusal = call("fulfil", tmp_path / "kit", *words)
    assert code == 0, refusal
    assert "average precision where 32 bits have" in out
    ready = BACKENDS["onnx"].ready
    runs = [ready(tmp_path / "out" / name, torch.float32) for name in ("model.onnx", "model.int8.onnx")]
    shown = factory.read_exam(things, thing_kit, thing_kit.space.read("bar")).pictures
    whole, eight = (torch.cat([run([one[None]])[0] for one in shown]) for run in runs)
    for true, found in zip(*(parts_of(thing_kit.host, answers) for answers in (whole, eight)), strict=True):
        off = (found - true).abs().max()
        assert 0 < off < 0.2 * (true - true[0]).abs().max()  # less by far than answers to two pictures differ
    assert (whole - eight)[..., :BOX].abs().max() < 0.5


def test_boxes_are_in_pixels_of_the_picture(kit, tmp_path):
    order = Order(kit.space.read("bar"), Budget(macs=1e12))
    factory.ship(order, factory.fulfil(order, kit), kit, tmp_path / "out")
    built = factory.rebuild(tmp_path / "out")
    seen = detect(built, Image.new("RGB", (300, 100), "grey"), least=0)
    assert len(seen.boxes)
    assert (seen.boxes <= torch.tensor([300, 100, 300, 100])).all()
    assert seen.boxes[:, 2].max() > 64  # and not of the detector's own
    assert (seen.boxes[:, 2:] > seen.boxes[:, :2]).all(), "none lies in what was added to fill its square"


@pytest.mark.slow
def test_things_are_found_by_a_kit_that_was_trained(things, tmp_path):
    kit = trained(things, tmp_path, 200, 200)
    tasks = [kit.space.read(words) for words in ("red square", "blue bar", "square")]
    rates = factory.audit(kit, tasks, lambda task: factory.read_exam(things, kit, task).exam, (0.6, 1.0)).accuracy
    assert rates["own"][1] > 0.8
    assert rates["own"][0] > rates["random"][0] + 0.1
