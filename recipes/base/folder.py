"""Stage 7: the folder that ships, an ordinary StableDiffusionPipeline in half precision, with its card."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from intarsia import hosts, rig, save_outline
from intarsia.hosts.pipelines import quiet
from intarsia.train import wear_average
from recipes.shipping import shipped_folder, write_card

from . import decoder, denoiser
from .captions import TOKENS, prompt_of
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


def prompts_of(listed: Path) -> list[str]:
    """One prompt for each concept that was taught, in one of the styles that it was taught in."""
    known = json.loads(listed.read_text())
    styles: dict[int, list[str]] = {}
    for cell in known["cells"]:
        if cell["part"] == "train" and taught(known["concepts"][cell["concept"]]):
            styles.setdefault(cell["concept"], []).append(cell["style"])
    return [
        prompt_of(known["concepts"][concept]["label"], drawn[place % len(drawn)])
        for place, (concept, drawn) in enumerate(sorted(styles.items()))
    ]


def write_folder(runs: Path, out: Path) -> None:
    """Put the pipeline together from the runs and save it over the folder that ships."""
    unet = UNet2DConditionModel(**denoiser.SHAPE)
    wear_average(denoiser.Denoising(unet, torch.ones(unet.config.in_channels)), runs / "denoiser")
    pipe = denoiser.pipeline_of(unet, newest_decoder(runs / "latents", runs / "decoder"))
    outline = rig.outline_of(hosts.of(unet), tokens=TOKENS)
    progress = json.loads((runs / "denoiser/checkpoint/progress.json").read_text())
    with shipped_folder(out, limit_mb=LIMIT_MB, keep=["modules"]) as part:
        with quiet():
            pipe.to(dtype=torch.float16).save_pretrained(part, safe_serialization=True)
        say_single_precision(part / "text_encoder/config.json")
        (part / "prompts.txt").write_text("\n".join(prompts_of(runs / "pictures/cells.json")) + "\n")
        save_outline(outline, part / "outline.json")
        write_card(CARD, part, {
            "denoiser_hours": f"{progress['seconds'] / 3600:.1f}",
            "steps": f"{progress['step']:,}",
        })  # fmt: skip
