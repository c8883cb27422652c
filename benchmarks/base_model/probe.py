"""What a picture shows: EfficientNet-Lite0, fine-tuned on real emoji only, to name concepts.

The shipped model never sees it in training. It is trained on the cells that the model was trained on and on
the concepts that the model never saw, so that it can judge those too; the held-out cells are its test.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.base_model.efficientnet import pretrained
from benchmarks.drawing import processes
from intarsia.train import Schedule, fit, seed_everything, wear_average
from recipes.base import latents

SIDE = 112  # pixels that the trunk sees
FEATURES = 1280


class Probe(nn.Module):
    """Pictures (batch, 3, 64, 64) in [0, 1] to features and concept logits.

    The second head, for styles, only helps the features in training; `style_probe` judges styles.
    """

    def __init__(self, concepts: int, styles: int) -> None:
        super().__init__()
        self.trunk = pretrained()
        self.trunk._fc = nn.Identity()
        self.concept = nn.Linear(FEATURES, concepts)
        self.style = nn.Linear(FEATURES, styles)

    def features(self, pictures: Tensor) -> Tensor:
        """Features of shape (batch, 1280), after pooling."""
        wide = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        scaled = (wide * 255 - 127) / 128
        return self.trunk.extract_features(scaled).mean((2, 3))

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, concepts, styles = batch
        features = F.dropout(self.features(pictures), 0.2, self.training)
        by_concept = F.cross_entropy(self.concept(features).float(), concepts, label_smoothing=0.1)
        by_style = F.cross_entropy(self.style(features).float(), styles)
        return {"loss": by_concept + 0.3 * by_style, "concept": by_concept, "style": by_style}


def shaken(pictures: Tensor) -> Tensor:
    """Small shifts, sizes, turns and blurs: what a generated picture may differ in without being another thing."""
    moved = latents.shaken(pictures, angle=0.15, size=0.08, shift=0.06)
    if torch.rand(()) < 0.5:  # as an autoencoder blurs
        side = int(torch.randint(28, 56, ()))
        small = F.interpolate(moved, size=(side, side), mode="bilinear", antialias=True)
        moved = F.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
    return moved


def train(
    pictures: np.ndarray,
    cells: list[dict],
    probe: Probe,
    out: Path,
    *,
    steps: int,
    batch: int = 48,
    rate: float = 1e-3,
    shaken: Callable[[Tensor], Tensor] = shaken,
) -> None:
    """Fine-tune on every real cell but the held-out ones; resumes.

    Args:
        shaken: What a picture is changed by before it is shown.
    """
    styles = sorted({cell["style"] for cell in cells})
    rows = np.array([row for row, cell in enumerate(cells) if cell["part"] != "cell"])

    def batch_at(_draw: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen = np.random.choice(rows, batch, replace=False)
        shown = torch.from_numpy(pictures[chosen]).permute(0, 3, 1, 2).float() / 255
        concepts = torch.tensor([cells[row]["concept"] for row in chosen])
        return shaken(shown), concepts, torch.tensor([styles.index(cells[row]["style"]) for row in chosen])

    probe.to(memory_format=torch.channels_last).train()
    fit(probe, batch_at, Schedule(steps, rate, warmup=100, cooldown=steps * 2 // 3, average=0.995), out)
    if processes().is_main_process:
        wear_average(probe, out)
        seed_everything(steps)
        settle_norms(probe, [batch_at(number)[0] for number in range(60)])
        save_file({name: value.contiguous() for name, value in probe.state_dict().items()}, out / "probe.safetensors")
    probe.eval()


@torch.no_grad()
def settle_norms(probe: Probe, batches: list[Tensor]) -> None:
    """Count the statistics of batch norms afresh: averaged weights never saw those that were kept in training."""
    norms = [module for module in probe.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what it sees
    probe.train()
    for pictures in batches:
        probe.features(pictures)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def load(out: Path, probe: Probe) -> bool:
    """Take the weights of a finished probe, if there is one."""
    path = out / "probe.safetensors"
    if path.exists():
        probe.load_state_dict(load_file(path))
        probe.eval()
    return path.exists()
