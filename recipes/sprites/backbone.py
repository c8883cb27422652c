"""EfficientNet-Lite0's weights for timm's model of it: the same layers in the same order, under other names."""

from torch import nn

from intarsia.connect.encoders import lite_trunk
from intarsia.errors import CardError

ARCHITECTURE = "tf_efficientnet_lite0"
MEAN, STD = 127 / 255, 128 / 255  # its pictures are (bytes - 127) / 128


def with_weights(backbone: nn.Module) -> None:
    """Give a backbone made of timm's `tf_efficientnet_lite0` the weights that its authors trained on ImageNet.

    Raises:
        CardError: it is another model.
        RigError: the weights' packages are not installed.
    """
    theirs = [(name, value) for name, value in lite_trunk().state_dict().items() if "num_batches" not in name]
    ours = {name: value for name, value in backbone.state_dict().items() if "num_batches" not in name}
    for (here, mine), (there, given) in zip(ours.items(), theirs, strict=False):
        if mine.shape != given.shape or here.rsplit(".", 1)[1] != there.rsplit(".", 1)[1]:
            raise CardError(f"{here} {tuple(mine.shape)} is not {there} {tuple(given.shape)}: not {ARCHITECTURE}.")
        mine.copy_(given)
