"""What stands in a model where a module was left out for good, so that whoever calls it need not know."""

from typing import Any

import torch
from torch import Tensor, nn


class Passing(nn.Module):
    """Hands on what it is given, as a unit with an identity path does when it adds nothing."""

    def forward(self, hidden_states: Tensor, *_: Any, return_dict: bool = True, **__: Any) -> Any:
        return hidden_states if return_dict else (hidden_states,)


class Silent(nn.Module):
    """Answers zeros, for a caller that adds what it answers to what it had."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.zeros_like(hidden_states)
