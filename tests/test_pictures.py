"""Pictures as people keep them."""

import pytest
from PIL import Image

from intarsia import CardError
from intarsia.pictures import on_white, opened, see_through

TURNED = 6  # in EXIF: the camera was held upright, and the file lies on its side


def test_pictures_are_turned_as_the_camera_was_held(tmp_path):
    lying = Image.new("RGB", (8, 4), "red")
    exif = Image.Exif()
    exif[0x0112] = TURNED
    lying.save(tmp_path / "photo.jpg", exif=exif)
    assert opened(tmp_path / "photo.jpg").size == (4, 8)


@pytest.mark.parametrize(("alpha", "seen", "colour"), [(255, False, "red"), (0, True, "white")])
def test_what_can_be_seen_through_is_seen_on_white(alpha, seen, colour):
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, alpha))
    assert see_through(picture) == seen
    assert on_white(picture).tobytes() == Image.new("RGB", (4, 4), colour).tobytes()
    assert not see_through(picture.convert("RGB"))


def test_half_a_picture_is_told(tmp_path):
    whole, half = tmp_path / "whole.jpg", tmp_path / "half.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert opened(whole).size == (64, 64)
    with pytest.raises(CardError, match=r"half\.jpg: cannot be read as a picture"):
        opened(half)
