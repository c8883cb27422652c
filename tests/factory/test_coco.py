"""Folders in COCO's format: what is read is what was written, and faults are told by file and id."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import CardError
from intarsia.factory.coco import MOST_TOLD, letterboxed, read_coco


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
    assert found.names == ("sword", "potion", "blue", "red")
    assert found.pictures[0].things.boxes.tolist() == [[10, 5, 30, 35], [0, 0, 5.5, 6]]
    assert found.pictures[0].things.names.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]
    assert len(found.pictures[1].things.boxes) == 1  # a crowd is no thing


def test_a_picture_is_fitted_with_its_boxes(folder):
    found = read_coco(written(*folder))
    picture, things = letterboxed(found.pictures[0], (3, 80, 80))
    assert picture.shape == (3, 80, 80)
    assert torch.allclose(things.boxes[0], torch.tensor([10.0, 5, 30, 35]) * 80 / 60, atol=0.3)
    assert picture[:, 0, 0].tolist() == [0, 0, 0]
    assert picture[:, -1, 0].tolist() == [127, 127, 127]


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
    ],
)
def test_a_fault_is_told_with_file_and_id(folder, kind, place, changes, said):
    where, content = folder
    broken(content, kind, place, **changes)
    (where / "cut.png").write_bytes((where / "1.png").read_bytes()[:60])
    with pytest.raises(CardError, match="annotations") as caught:
        read_coco(written(where, content))
    assert said in str(caught.value)


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
    for text, said in [("{", "not JSON"), ("[]", "not in COCO's format"), ('{"images": []}', "not in COCO's format")]:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CardError, match=said):
            read_coco(tmp_path / "a.json")
