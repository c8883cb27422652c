"""Folders in COCO's format: what is read is what was written, and faults are told by file and id."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from intarsia import CardError, FitError
from intarsia.factory.coco import MOST_TOLD, letterboxed, read_coco
from intarsia.factory.coco_places import annotations_at


@pytest.fixture
def folder(tmp_path):
    """Two pictures, three things."""
    for number, (width, height) in enumerate([(60, 40), (32, 64)]):
        picture = np.full((height, width, 3), 40 * number, np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    content = {
        "images": [
            {"id": 7, "file_name": "0.png", "width": 60, "height": 40, "license": 1},
            {"id": 8, "file_name": "1.png", "width": 32, "height": 64},
        ],
        "categories": [{"id": 3, "name": "sword"}, {"id": 5, "name": "potion", "supercategory": "item"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 5, 20, 30], "attributes": ["red"]},
            {
                "id": 2,
                "image_id": 7,
                "category_id": 5,
                "bbox": [0, 0, 5.5, 6],
                "attributes": {"colour": "blue", "n": 2},
            },
            {"id": 4, "image_id": 8, "category_id": 5, "bbox": [1, 2, 3, 4]},
            {"id": 9, "image_id": 8, "category_id": 5, "bbox": [0, 0, 32, 64], "iscrowd": 1},
        ],
    }
    return tmp_path, content


def written(folder, content):
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_what_is_read_is_what_was_written(folder):
    found = read_coco(written(*folder))
    assert found.classes == ("sword", "potion")
    assert found.groups == (("sword", "potion"), ("red",), ("blue",))  # listed, and of a kind
    assert found.names == ("sword", "potion", "red", "blue")
    assert found.pictures[0].things.boxes.tolist() == [[10, 5, 30, 35], [0, 0, 5.5, 6]]
    assert found.pictures[0].things.names.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert len(found.pictures[1].things.boxes) == 1  # a crowd is no thing


def test_a_crowd_may_hold_what_is_not_said_of_it(folder):
    where, content = folder
    crowd = read_coco(written(where, content)).pictures[1].crowds
    assert crowd.boxes.tolist() == [[0, 0, 32, 64]]
    assert crowd.names.tolist() == [[0, 1, 1, 1]]  # potions, of any colour
    broken(content, "annotations", 2, attributes={"colour": "green"})
    broken(content, "annotations", 3, attributes={"colour": "blue"})
    found = read_coco(written(where, content))
    assert found.names == ("sword", "potion", "red", "blue", "green")
    assert found.pictures[1].crowds.names.tolist() == [[0, 1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("attributes", "groups"),
    [
        ((["red"], ["blue"]), (("blue", "red"),)),
        (({"colour": "red", "size": "large"}, {"Colour": "blue"}), (("blue", "red"), ("large",))),
        ((["red"], {"colour": "red", "worn": None, "n": 3}), (("red",),)),
        ((["large"], {"colour": "red"}), (("large",), ("red",))),
        (({"type": "sword", "colour": "red"}, ["sword"]), (("red",),)),
        ((None, {}), ()),
    ],
)
def test_attributes_of_one_kind_are_alternatives(folder, attributes, groups):
    where, content = folder
    for place, said in enumerate(attributes):
        broken(content, "annotations", place, attributes=said)
    assert read_coco(written(where, content)).groups == (("sword", "potion"), *groups)


def test_a_picture_is_fitted_with_its_boxes(folder):
    found = read_coco(written(*folder))
    picture, things, _ = letterboxed(found.pictures[0], (3, 80, 80))
    assert picture.shape == (3, 80, 80)
    assert torch.allclose(things.boxes[0], torch.tensor([10.0, 5, 30, 35]) * 80 / 60, atol=0.3)
    assert picture[:, 0, 0].tolist() == [0, 0, 0]
    assert picture[:, -1, 0].tolist() == [127, 127, 127]
    with pytest.raises(FitError, match="the detector takes 4: say in_chans=3"):
        letterboxed(found.pictures[0], (4, 80, 80))


UPRIGHT = (40, 60)  # pixels across and down, of a picture as it is shown
BOX = [4, 10, 15, 22]
STORED = {  # from the shown picture, by EXIF's number
    1: (), 2: (Image.Transpose.FLIP_LEFT_RIGHT,), 3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,), 5: (Image.Transpose.TRANSPOSE,), 6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,), 8: (Image.Transpose.ROTATE_270,),
}  # fmt: skip


def extent(pixels):
    """Left, top, right and bottom of what is red."""
    down, across = (np.asarray(pixels)[..., 0] > 100).nonzero()
    return [across.min(), down.min(), across.max() + 1, down.max() + 1]


@pytest.fixture
def turned(tmp_path):
    """A function that writes a picture with a red thing, turned by EXIF's number: the stored picture."""

    def write(orientation):
        picture = Image.new("RGB", UPRIGHT)
        picture.paste((255, 0, 0), BOX)
        for step in STORED[orientation]:
            picture = picture.transpose(step)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(tmp_path / "0.png", exif=exif)
        return picture

    return write


def annotated(folder, size, corners):
    """Annotations of one thing in one picture of this size."""
    left, top, right, bottom = map(int, corners)
    return written(folder, {
        "images": [{"id": 1, "file_name": "0.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "sword"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}],
    })  # fmt: skip


@pytest.mark.parametrize("orientation", STORED)
def test_boxes_lie_on_what_they_were_drawn_around_however_the_camera_was_held(turned, tmp_path, orientation):
    stored = turned(orientation)
    ways = [(UPRIGHT, BOX)] + ([(stored.size, extent(stored))] if stored.size != UPRIGHT else [])
    for size, box in ways:
        pixels, things, _ = letterboxed(
            read_coco(annotated(tmp_path, size, box)).pictures[0], (3, UPRIGHT[1], UPRIGHT[0])
        )
        assert extent(pixels.permute(1, 2, 0)) == BOX
        assert things.boxes.tolist() == [BOX]


def test_a_size_that_fits_neither_way_is_told_with_both(turned, tmp_path):
    turned(6)
    with pytest.raises(CardError, match="is 40x60 and not 41x60, nor 60x40 as it is stored, before its EXIF turns it"):
        read_coco(annotated(tmp_path, (41, 60), BOX))


def test_what_one_can_see_through_is_white(tmp_path):
    Image.new("RGBA", UPRIGHT, (0, 0, 0, 0)).save(tmp_path / "0.png")
    found = read_coco(annotated(tmp_path, UPRIGHT, BOX))
    assert (letterboxed(found.pictures[0], (3, UPRIGHT[1], UPRIGHT[0]))[0] == 255).all()


def broken(content, kind, place, **changes):
    content[kind][place] |= changes


@pytest.mark.parametrize(
    ("kind", "place", "changes", "said"),
    [
        ("annotations", 0, {"bbox": [10, 5, 0, 30]}, "annotations 1: its box is empty, 0 wide and 30 high"),
        ("annotations", 0, {"bbox": [50, 5, 20, 30]}, "annotations 1: its box leaves the picture, which is 60x40"),
        ("annotations", 0, {"bbox": [50, 5, 20]}, "annotations 1: bbox.3: field required"),
        ("annotations", 1, {"image_id": 70}, "annotations 2: there is no image 70"),
        ("annotations", 1, {"category_id": 4}, "annotations 2: there is no category 4"),
        ("annotations", 1, {"id": 1}, "annotations 1: 2 have this id"),
        ("images", 1, {"file_name": "2.png"}, "images 8: there is no "),
        ("images", 1, {"file_name": "annotations.json"}, "is not a picture that can be read"),
        ("images", 1, {"width": 33}, "1.png is 32x64 and not 33x64"),
        ("categories", 0, {"name": ""}, "categories 3: name: "),
        (
            "annotations",
            0,
            {"bbox": [float("nan"), 5, 20, 30]},
            "annotations 1: bbox.0: input should be a finite number",
        ),
        (
            "annotations",
            0,
            {"bbox": [10, 5, float("inf"), 30]},
            "annotations 1: bbox.2: input should be a finite number",
        ),
        ("categories", 0, {"name": "Red"}, "annotations 1: 'red' is 'Red' elsewhere"),
        ("categories", 0, {"name": "Potion"}, "categories 5: 'potion' is 'Potion' elsewhere"),
        ("images", 1, {"file_name": "cut.png"}, "cut.png is not a picture that can be read"),
        ("images", 1, {"file_name": "huge.png"}, "huge.png has more than 5000 pixels; scale it and its boxes down"),
        ("categories", 0, {"name": " sword"}, "categories 3: ' sword' cannot be asked for: write it without spaces"),
        ("categories", 0, {"name": "red  sword"}, "'red  sword' cannot be asked for: write it without spaces"),
        ("categories", 1, {"name": "All"}, "categories 5: 'All' cannot be asked for: call it otherwise"),
        ("categories", 1, {"name": "all but one"}, "categories 5: 'all but one' cannot be asked for: call it"),
        ("annotations", 0, {"attributes": ["red, shiny"]}, "annotations 1: 'red, shiny' cannot be asked for: write it"),
        ("annotations", 0, {"attributes": {"colour": ""}}, "annotations 1: '' cannot be asked for: leave it out"),
        ("annotations", 0, {"attributes": {"mood": "blue"}}, "2: 'blue' is of kind 'colour' here and 'mood' elsewhere"),
        ("annotations", 0, {"attributes": 5}, "annotations 1: attributes: give a list of words, or one word for each"),
        ("annotations", 0, {"attributes": {"colour": ["red"]}}, "annotations 1: attributes: give a list of words"),
        ("annotations", 0, {"attributes": ["red", 5]}, "annotations 1: attributes: give a list of words"),
        ("annotations", 3, {"bbox": [0, 0, 0, 64]}, "annotations 9: its box is empty, 0 wide and 64 high"),
        ("annotations", 3, {"category_id": 4}, "annotations 9: there is no category 4"),
        ("annotations", 3, {"iscrowd": 2}, "annotations 9: iscrowd: input should be less than or equal to 1"),
    ],
)
def test_a_fault_is_told_with_file_and_id(folder, kind, place, changes, said, monkeypatch):
    where, content = folder
    broken(content, kind, place, **changes)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2500)
    Image.new("L", (100, 60)).save(where / "huge.png")
    (where / "cut.png").write_bytes((where / "1.png").read_bytes()[:60])
    with pytest.raises(CardError, match="annotations") as caught:
        read_coco(written(where, content))
    assert said in str(caught.value)


@pytest.mark.parametrize(("kind", "amiss"), [("images", {"width": 0}), ("categories", {"name": ""})])
def test_what_is_told_to_be_amiss_is_not_said_to_be_missing(folder, kind, amiss):
    where, content = folder
    broken(content, kind, 0, **amiss)
    with pytest.raises(CardError) as caught:
        read_coco(written(where, content))
    (fault,) = str(caught.value).splitlines()
    assert f"{kind} {content[kind][0]['id']}" in fault


def test_an_empty_box_is_told_whatever_is_amiss_with_its_picture(folder):
    where, content = folder
    first = content["annotations"][0]
    amiss = next(place for place, picture in enumerate(content["images"]) if picture["id"] == first["image_id"])
    broken(content, "images", amiss, width=0)
    broken(content, "annotations", 0, bbox=[1, 1, 0, 1])
    with pytest.raises(CardError, match=rf"annotations {first['id']}: its box is empty"):
        read_coco(written(where, content))


def test_all_faults_are_told_but_not_thousands(folder):
    where, content = folder
    broken(content, "annotations", 0, category_id=4)
    broken(content, "annotations", 1, image_id=70)
    with pytest.raises(CardError) as caught:
        read_coco(written(where, content))
    assert len(str(caught.value).splitlines()) == 2
    content["annotations"] = [content["annotations"][0] | {"id": number} for number in range(500)]
    with pytest.raises(CardError) as caught:
        read_coco(written(where, content))
    assert len(str(caught.value).splitlines()) == MOST_TOLD + 1
    assert "and 480 more" in str(caught.value)


def test_what_is_no_coco_is_refused(tmp_path):
    with pytest.raises(CardError, match="no such file"):
        read_coco(tmp_path / "annotations.json")
    with pytest.raises(CardError, match="cannot be read"):
        read_coco(tmp_path)
    for text, said in [("{", "not JSON"), ("[]", "not in COCO's format"), ('{"images": []}', "not in COCO's format")]:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CardError, match=said):
            read_coco(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("listed", "pictures"),
    [
        ("annotations.json", "."),
        ("labels.json", "."),
        ("train/_annotations.coco.json", "train"),
        ("annotations.json", "images"),
        ("annotations/labels.json", "images"),
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/labels.json", "."),
    ],
)
def test_pictures_are_found_where_labelling_tools_put_them(folder, tmp_path, monkeypatch, listed, pictures):
    where, content = folder
    root = tmp_path / "set"
    (root / listed).parent.mkdir(parents=True)
    (root / pictures).mkdir(parents=True, exist_ok=True)
    for name in ("0.png", "1.png"):
        (where / name).rename(root / pictures / name)
    (root / listed).write_text(json.dumps(content))
    assert annotations_at(root / listed.removesuffix("_annotations.coco.json")) == root / listed
    assert listed.startswith("train") or annotations_at(root) == root / listed
    monkeypatch.chdir((root / listed).parent)
    assert len(read_coco(Path((root / listed).name)).pictures) == 2
    (root / pictures / "1.png").unlink()
    with pytest.raises(CardError, match=r"images 8: there is no \S+1\.png"):
        read_coco(root / listed)
    (root / pictures / "0.png").unlink()
    with pytest.raises(CardError, match=r"images: none of them is there\. Looked in .*, .*/images, "):
        read_coco(root / listed)


def test_of_several_annotations_one_has_to_be_named(tmp_path):
    with pytest.raises(CardError, match=r"no annotations\.json in it, nor another JSON"):
        annotations_at(tmp_path)
    for name in ("train.json", "val.json"):
        (tmp_path / name).touch()
    with pytest.raises(CardError, match=r"which annotations\? Name one of: .*train\.json, .*val\.json"):
        annotations_at(tmp_path)
