"""Stage 7: the folder that ships, an ordinary StableDiffusionPipeline in half precision, with its card."""

import json
import shutil
import subprocess
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from intarsia import hosts, rig, save_outline
from intarsia.hosts.pipelines import quiet
from intarsia.train import wear_average

from . import decoder, denoiser
from .captions import TOKENS, article
from .concepts import taught

LIMIT_MB = 90
CARD = Path(__file__).with_name("CARD.md")


def newest_decoder(latents: Path, decoder_run: Path) -> AutoencoderKL:
    """The folded autoencoder, its decoder trained further if there is such a run."""
    found = AutoencoderKL.from_pretrained(latents / "autoencoder")
    if (decoder_run / "checkpoint").exists():
        wear_average(decoder.Sharpening(found), decoder_run)
    return found


def say_single_precision(config: Path) -> None:
    """Let transformers widen the half-precision weights when it loads them, as diffusers does with the rest."""
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def seconds_of(run: Path) -> float:
    """Training seconds of a run, over all its sessions."""
    path = run / "checkpoint" / "progress.json"
    return json.loads(path.read_text())["seconds"] if path.exists() else 0.0


def prompts_of(listed: Path) -> list[str]:
    """One prompt for each concept that was taught, in one of the styles that it was taught in."""
    known = json.loads(listed.read_text())
    styles: dict[int, list[str]] = {}
    for cell in known["cells"]:
        if cell["part"] == "train" and taught(known["concepts"][cell["concept"]]):
            styles.setdefault(cell["concept"], []).append(cell["style"])
    return [
        f"{article(known['concepts'][concept]['label'])} in {drawn[place % len(drawn)]} style"
        for place, (concept, drawn) in enumerate(sorted(styles.items()))
    ]


def write_folder(runs: Path, out: Path) -> None:
    """Put the pipeline together from the runs and save it over the folder that ships."""
    unet = UNet2DConditionModel(**denoiser.SHAPE)
    wear_average(denoiser.Denoising(unet, torch.ones(unet.config.in_channels)), runs / "denoiser")
    pipe = denoiser.pipeline_of(unet, newest_decoder(runs / "latents", runs / "decoder"))
    outline = rig.outline_of(hosts.of(unet), tokens=TOKENS)
    part = out.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    with quiet():
        pipe.to(dtype=torch.float16).save_pretrained(part, safe_serialization=True)
    say_single_precision(part / "text_encoder/config.json")
    (part / "prompts.txt").write_text("\n".join(prompts_of(runs / "pictures/cells.json")) + "\n")
    save_outline(outline, part / "outline.json")

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    progress = json.loads((runs / "denoiser/checkpoint/progress.json").read_text())
    card = CARD.read_text()
    for name, value in {
        "commit": commit.stdout.strip(),
        "autoencoder_hours": f"{(seconds_of(runs / 'autoencoder') + seconds_of(runs / 'decoder')) / 3600:.1f}",
        "denoiser_hours": f"{progress['seconds'] / 3600:.1f}",
        "steps": f"{progress['step']:,}",
    }.items():
        card = card.replace("{" + name + "}", value)
    (part / "README.md").write_text(card)
    size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file()) / 1e6
    if size > LIMIT_MB:
        raise SystemExit(f"the folder would be {size:.1f} MB, more than {LIMIT_MB}")
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    print(f"wrote {out}: {size:.1f} MB")
