"""Lessons and exams of a person's own pictures: what cannot be learned or judged is told, and crowds are unknown."""

import json

import pytest
import torch
from PIL import Image

from intarsia import FitError, factory
from intarsia.factory import Naming, Seeking, Space
from intarsia.factory.boxes import fitting
from intarsia.factory.coco import read_coco
from intarsia.factory.int8 import halves
from intarsia.factory.seeking import BOX, cells_of
from intarsia.factory.task import groups_mask
from intarsia.factory.thing_lessons import KINDS, asked_of, space_of, thing_lessons
from intarsia.hosts import timm_supernet

from .conftest import call

SIZE = (3, 64, 64)
HALF = (0.5,) * 3
GROUPS = (("square", "bar"), ("blue", "red"), ("large", "small"))
NAMES = GROUPS[0] + GROUPS[1] + GROUPS[2]


def detector(backbone="test_efficientnet", size=SIZE, names=4, **arguments):
    torch.manual_seed(0)
    return timm_supernet.create(
        "anchor_free_detector", size, grain=4, backbone=backbone, num_classes=names, width=16, depth=1, **arguments
    )


@pytest.fixture
def folder(tmp_path):
    """A function that writes annotations of plain pictures: a list of things for each, as (class, box, more)."""

    def write(*pictures, classes=("square", "bar")):
        content = {"images": [], "annotations": []}
        content["categories"] = [{"id": number, "name": name} for number, name in enumerate(classes)]
        for number, things in enumerate(pictures):
            Image.new("RGB", (64, 64), "grey").save(tmp_path / f"{number}.png")
            content["images"].append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            content["annotations"] += [
                {"image_id": number, "category_id": classes.index(name), "bbox": box, **more}
                for name, box, more in things
            ]
        for number, one in enumerate(content["annotations"]):
            one["id"] = number
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return tmp_path

    return write


def lessons_of(folder, host=None, **more):
    more = {"tasks": 3} | more
    return thing_lessons(
        read_coco(folder / "annotations.json"), host or detector(), mean=HALF, std=HALF, batch=12, **more
    )


SQUARE = ("square", [8, 8, 16, 16], {"attributes": {"colour": "red"}})
BAR = ("bar", [20, 40, 30, 10], {"attributes": {"colour": "blue"}})


@pytest.mark.parametrize("tasks", [0, 2, 13])
def test_a_batch_has_tasks_of_every_stratum_and_pictures_for_each(folder, tasks):
    with pytest.raises(FitError, match=f"a batch of 12 pictures for {tasks} tasks: give it 3 or more"):
        lessons_of(folder([SQUARE]), tasks=tasks)


def test_kinds_of_attributes_are_groups_and_a_kit_keeps_them(folder, tmp_path):
    both = {"attributes": {"colour": "red", "size": "large"}}
    read = read_coco(folder([("square", [8, 8, 16, 16], both)], [BAR]) / "annotations.json")
    space = space_of(read)
    assert space.groups == (("square", "bar"), ("blue", "red"), ("large",))
    host = detector(names=5)
    assembler = factory.Assembler.of(space, factory.Grounds.of(host.outline, host.answers))
    factory.save_kit(factory.Kit(host, assembler, space, 0.55, HALF, HALF), tmp_path / "kit")
    back = factory.load_kit(tmp_path / "kit").space
    assert back == space
    asked = back.spoken(back.read("large red square"))
    assert asked == ("square", "red", "large")
    assert back.groups_of(asked) == ((0,), (1,), (2,)), "all of these, and not one of them"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [(0, 2, 4), (1, 3), (0, 5), (1,)])
def test_a_task_fits_the_thing_that_it_was_made_of(kind, names):
    groups = Space(NAMES, groups=GROUPS, things=True).groups_of(NAMES)
    mask = groups_mask(groups, len(NAMES))
    own = torch.zeros(1, 1, len(NAMES))
    own[..., list(names)] = 1
    seen = set()
    for _ in range(60):
        asked = asked_of(names, kind, groups)
        code = torch.zeros(1, len(NAMES))
        code[0, list(asked)] = 1
        assert fitting(own, code[:, None] * mask).all()
        seen.add(tuple(int(count) for count in (code * mask).sum(1)))
    if names == (0, 2, 4):
        assert (
            seen
            == {
                "class": {(1, 0, 0)},
                "both": {(1, 1, 0), (1, 0, 1), (1, 1, 1)},
                "attribute": {(0, 1, 0), (0, 0, 1), (0, 1, 1)},
                "either": {(2, 0, 0), (1, 2, 0), (1, 0, 2), (1, 2, 1), (1, 1, 2)},
            }[kind]
        )


@pytest.mark.parametrize(("pictures", "classes"), [([], ("square",)), ([[], []], ("square",)), ([[]], ())])
def test_without_a_thing_there_are_no_lessons(folder, pictures, classes):
    where = folder(*pictures, classes=classes)
    read = read_coco(where / "annotations.json")
    for made in (lambda: space_of(read), lambda: lessons_of(where)):
        with pytest.raises(FitError, match="no thing is annotated in any picture"):
            made()


def test_what_nothing_is_called_is_left_out_and_told(folder):
    crowd = ("bar", [0, 0, 64, 64], {"iscrowd": 1})
    where = folder([SQUARE, crowd], classes=("things", "square", "bar"))
    assert space_of(read_coco(where / "annotations.json")).names == ("square", "red")
    with pytest.warns(UserWarning, match="nothing is annotated as 'things', 'bar': left out"):
        made = lessons_of(where, detector(names=2))
    assert made.concepts(0)[2].shape[2] == 2


def test_things_that_no_cell_answers_for_are_told(folder):
    lessons_of(folder([SQUARE, BAR]))
    small = ("square", [5, 5, 4, 4], {})  # between the centres of cells
    with pytest.warns(
        UserWarning, match=r"1 of 3 things \(33\.3%\) are too small or thin .* cells, of 8 pixels or more"
    ):
        lessons_of(folder([SQUARE, BAR, small]))
    lessons_of(folder([SQUARE, BAR, small]), detector(levels=(0, 1, 2)))
    with pytest.raises(FitError, match=r"2 of 2 things .* Create it for larger pictures, or with finer levels"):
        lessons_of(folder([small], [small], classes=("square",)))


def test_sizes_at_which_cells_are_others_are_told_with_some_that_work():
    with pytest.raises(FitError, match=r"129 cells in pictures of \(3, 80, 80\), and 134 are wanted.*\(3, 96, 96\)"):
        cells_of(detector("test_convnext", (3, 80, 80)))
    for backbone, size in (("test_convnext", (3, 96, 96)), ("test_efficientnet", (3, 80, 72))):
        host = detector(backbone, size)
        with torch.no_grad():
            assert host.module(torch.zeros(1, *size)).shape[1] == len(cells_of(host).centres)


@pytest.fixture
def crowds(folder):
    """A square in one half of each picture; the other half is a crowd of bars."""
    return folder(*[[SQUARE, BAR, ("bar", [32, 0, 32, 64], {"iscrowd": 1})]] * 2)


def test_crowds_go_along_with_lessons(crowds):
    host = detector()
    made = lessons_of(crowds, host)
    _, boxes, _, around, kinds = made.concepts(0)
    assert around.shape == (12, 1, 4)
    assert (kinds == torch.tensor([0.0, 1, 1, 1])).all()  # bars, of whatever colour
    mirrored = boxes[:, 0, 0] > 32
    assert mirrored.any()
    assert not mirrored.all()
    assert torch.equal(around[:, 0, 0], torch.where(mirrored, 0.0, 32.0))
    assert [len(part) for part in made.tasks(0)] == [12, 12, 12, 3, 12, 12]

    host.module.names.bias.data.fill_(3.0)  # things everywhere
    assembler = factory.Assembler(4, len(factory.Grounds.of(host.outline, host.answers).site_of))
    for objective, batch in (
        (Naming(host, 0.55), made.concepts(0)),
        (Seeking(host, assembler, [[0, 1], [2, 3]], 0.55), made.tasks(0)),
    ):
        wrong = []
        for told in (batch, batch[:-2]):
            torch.manual_seed(0)
            wrong.append(float(objective(told)["names"]))
        assert wrong[0] < 0.9 * wrong[1]


@pytest.mark.parametrize(("words", "right"), [("bar", True), ("blue", True), ("blue bar", True), ("square", False)])
def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong(crowds, thing_kit, words, right):
    task = thing_kit.space.read(words)
    _, marks = factory.read_exam(crowds, thing_kit, task).exam
    said = torch.full((2, 3, BOX + len(task.answers)), -20.0)
    left, top, width, height = (SQUARE if words == "square" else BAR)[1]
    said[:, 0, :BOX] = torch.tensor([left, top, left + width, top + height])
    said[:, 1, :BOX] = torch.tensor([40, 0, 60, 30])
    said[:, :2, BOX:] = torch.tensor([5.0, 9.0])[:, None]
    assert (marks(said) == pytest.approx(1)) == right


@pytest.mark.parametrize("count", [16, 40, 300])
def test_both_halves_hold_what_is_asked_for(count):
    for pair in [(0, 1), (3, 12), (7, 9), (8, count - 1), (count - 2, count - 1)]:
        holds = torch.zeros(count, dtype=torch.bool)
        holds[list(pair)] = True
        first, rest = halves(count, holds)
        assert holds[first].any()
        assert holds[rest].any()
        assert sorted(torch.cat([first, rest]).tolist()) == list(range(count))
    holds[pair[0]] = False
    with pytest.raises(FitError, match=f"1 of {count} pictures holds what is asked for"):
        halves(count, holds)
    everything = halves(count, torch.ones(count, dtype=torch.bool))
    assert all(torch.equal(one, other) for one, other in zip(everything, halves(count), strict=True))


def test_exams_without_what_is_asked_for_are_refused_before_anything_is_made(folder, thing_kit, tmp_path, monkeypatch):
    factory.save_kit(thing_kit, tmp_path / "kit")
    monkeypatch.setattr(factory, "fulfil", None)
    where = folder([SQUARE], *[[BAR]] * 15)
    words = ("fulfil", tmp_path / "kit", "--macs", "6M", "--int8", where, "-o", tmp_path / "out", "--detect")
    assert "1 of 16 pictures holds what is asked for" in call(*words, "square")[2]
    folder(*[[BAR]] * 16)
    assert "no picture of the exam holds what is asked for: square, blue" in call(*words, "blue square")[2]
    folder()
    assert "no picture of the exam holds what is asked for: bar" in call(*words, "bar")[2]


def test_the_usual_layout_is_read_from_the_shell(folder, thing_kit, tmp_path):
    factory.save_kit(thing_kit, tmp_path / "kit")
    where = folder([SQUARE], [BAR])
    (where / "set/annotations").mkdir(parents=True)
    (where / "set/images").mkdir()
    for path in [*where.glob("*.png")]:
        path.rename(where / "set/images" / path.name)
    listed = (where / "annotations.json").rename(where / "set/annotations/val.json")
    words = ("frontier", tmp_path / "kit", "--task", "bar", "--points", 2, "--pictures")
    for number, pictures in enumerate((listed, where / "set")):
        code, out, refusal = call(*words, pictures, "-o", tmp_path / str(number))
        assert code == 0, refusal
        assert "average precision at 55%" in out


def test_a_pack_is_asked_for_by_a_scenario(thing_kit, tmp_path):
    folders = {}
    for name in ("bar", "red"):
        order = factory.Order(thing_kit.space.read(name), factory.Budget(macs=1e12))
        folders[name] = factory.ship(order, factory.fulfil(order, thing_kit), thing_kit, tmp_path / name)
    factory.save_pack(factory.packed(thing_kit, folders), tmp_path / "pack.safetensors")
    Image.new("RGB", (80, 60), "grey").save(tmp_path / "shown.png")
    words = ("detect", tmp_path / "pack.safetensors", tmp_path / "shown.png", "-o", tmp_path / "found.png")
    assert "is a pack of several models: say --scenario and one of: bar, red" in call(*words)[2]
    assert call(*words, "--scenario", "red")[0] == 0
