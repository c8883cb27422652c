"""Which style a picture is in, told from texture: the lower layers of EfficientNet-Lite0, fine-tuned for it.

The concept judge knows things by heart, and its guess of an unseen picture's style is poor. Style is in strokes,
shading and colours, which the lower layers see in pictures that they never saw.

They also see what no person does: fitted to clean renderings alone, a probe called most pictures another style once
they had been through an autoencoder that the eye can hardly tell. So it learns from worn copies of real pictures, and
half of these went through the model's own autoencoder: it is to read styles, not to spot autoencoders.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.base_model.efficientnet import pretrained
from benchmarks.drawing import processes
from intarsia.train import Schedule, fit, wear_average

LISTENED = (0, 2, 4, 7)  # blocks of EfficientNet-Lite0
SIDE = 96


class StyleProbe(nn.Module):
    """Pictures (batch, 3, 64, 64) in [0, 1] to style logits."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        trunk = pretrained()
        self.stem = nn.Sequential(trunk._conv_stem, trunk._bn0, trunk._swish)
        self.blocks = trunk._blocks[: LISTENED[-1] + 1]
        width = 2 * (3 + sum(trunk._blocks[number]._block_args.output_filters for number in LISTENED))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(0.3), nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, styles)
        )
        self.eval()  # norms keep the statistics of the pretrained network throughout

    def statistics(self, pictures: Tensor) -> Tensor:
        """Mean and deviation over the picture of colours and of each listened layer's channels: (batch, width)."""
        wide = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        seen, hidden = [pictures], self.stem((wide * 255 - 127) / 128)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number in LISTENED:
                seen.append(hidden)
        return torch.cat(
            [part for layer in seen for part in (layer.mean((2, 3)), (layer.var((2, 3)) + 1e-5).sqrt())], 1
        )

    def logits(self, pictures: Tensor) -> Tensor:
        """(batch, styles)."""
        return self.head(self.statistics(pictures))

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, styles = batch
        logits = self.logits(pictures).float()
        right = (logits.argmax(1) == styles).float().mean()
        return {"loss": F.cross_entropy(logits, styles, label_smoothing=0.05), "right": right}


def worn(picture: Tensor, often: float = 0.5) -> Tensor:
    """A copy of a picture (3, 64, 64) in [0, 1]: a little blurred, uneven, noisy, compressed, or several of these."""
    blurred, uneven, noisy, compressed = np.random.random(4) < often
    size = picture.shape[-2:]
    if blurred:
        less = F.interpolate(picture[None], size=np.random.randint(36, 60), mode="bicubic", antialias=True)
        picture = F.interpolate(less, size=size, mode="bicubic")[0]
    if uneven:
        coarse = np.random.uniform(0, 0.06) * torch.randn(1, 3, *2 * [np.random.randint(4, 24)])
        picture = picture + F.interpolate(coarse, size=size, mode="bicubic")[0]
    if noisy:
        picture = picture + np.random.uniform(0, 0.04) * torch.randn_like(picture)
    picture = picture.clamp(0, 1)
    if compressed:
        held = io.BytesIO()
        shown = (picture * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(shown).save(held, "JPEG", quality=int(np.random.randint(30, 95)))
        picture = torch.from_numpy(np.array(Image.open(held))).permute(2, 0, 1).float() / 255
    return picture


def train(
    probe: StyleProbe,
    copies: Sequence[np.ndarray],
    styles: np.ndarray,
    shaken: Callable[[Tensor], Tensor],
    out: Path,
    *,
    steps: int = 1_200,
    batch: int = 32,
) -> None:
    """Fit the probe to real pictures, shaken and worn, every style equally often; resumes.

    Args:
        copies: The pictures in bytes, as they are and as else they may look; one copy is drawn each time.
        styles: Each picture's style, a number.
        steps: Of each process.
    """
    share = 1 / np.bincount(styles)[styles]
    share /= share.sum()

    def batch_at(_draw: int) -> tuple[Tensor, Tensor]:
        rows = np.random.choice(len(styles), batch, replace=False, p=share)
        drawn = np.stack([copies[np.random.randint(len(copies))][row] for row in rows])
        shown = shaken(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255)
        return torch.stack([worn(picture) for picture in shown]), torch.from_numpy(styles[rows])

    torch.manual_seed(0)
    probe.to(memory_format=torch.channels_last).requires_grad_(True)
    schedule = Schedule(steps, 1e-3, warmup=50, cooldown=steps * 2 // 3, average=0.99, weight_decay=0.05)
    fit(probe, batch_at, schedule, out / "style")
    if processes().is_main_process:
        wear_average(probe, out / "style")
        save_file({name: value.contiguous() for name, value in probe.state_dict().items()}, out / "style.safetensors")
    probe.requires_grad_(False)


def load(probe: StyleProbe, out: Path) -> bool:
    """Take the weights of a finished probe, if there are any."""
    path = out / "style.safetensors"
    if path.exists():
        probe.load_state_dict(load_file(path))
        probe.requires_grad_(False)
    return path.exists()
