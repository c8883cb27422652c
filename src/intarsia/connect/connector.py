"""What modules plug into: it carries tokens from the words to the UNet, and lets modules speak after each block.

Two kinds. `SemanticConnector` is ELLA's: a few learned tokens read a language model's states through blocks that know
the time step, and they, not the words, go to the UNet. `TextCarrier` is ours: it carries a stock pipeline's own text
tokens and has no weights, so that with nobody speaking the pipeline is the stock one to the bit, and no language model
is needed; it gives up that a frozen block follows each module and holds it within bounds (EMMA, section 3.2).

A module knows its connector by the fingerprint of what the tokens mean: the connector's own weights, or the text
encoder's. The UNet is not part of it, for modules outlive an exchange of the UNet (EMMA, appendix A.5).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import FitError
from ..parts.perceiver import Perceiver
from ..tensors import fill
from .files import read, write

Between = Callable[[int, Tensor, Tensor], Tensor]
DOCUMENT = "connector/1"


@dataclass(frozen=True)
class Form:
    """The shape of a place to plug in: what a module has to have in common with its connector.

    Attributes:
        blocks: How many times modules speak.
        width: Of the carried tokens, and of what the UNet looks at.
        heads: Of every attention; divides `width`.
        time_width: Of the moment, the vector for a time step.
    """

    blocks: int
    width: int
    heads: int
    time_width: int


class Connector(Protocol):
    """Carries tokens, and calls `between` after each block with its number, the tokens and the moment."""

    form: Form
    words_width: int
    carries_words: bool  # each token in the place of its word, so that a mask of words holds for them

    @property
    def fingerprint(self) -> str:
        """What the carried tokens mean, as a short name that no other connector has."""
        ...

    def __call__(self, words: Tensor, times: Tensor, between: Between) -> Tensor:
        """Tokens (batch, tokens, width) for the UNet, from words (batch, words, words_width) and times (batch or 1)."""
        ...


def as_they_are(_number: int, carried: Tensor, _moment: Tensor) -> Tensor:
    """Nobody speaks."""
    return carried


class TextCarrier(nn.Module):
    """Carries a stock pipeline's own text tokens; nothing in it is learned.

    Its moment is a plain sinusoid of the time step. Source: ours ("text-carrier").

    Args:
        width: Of the text tokens, the UNet's `cross_attention_dim`.
        space: What the tokens mean: `fingerprint_of` the text encoder.

    Raises:
        FitError: the heads do not divide the width.
    """

    carries_words = True

    def __init__(self, width: int, space: str, *, blocks: int = 2, heads: int = 8, time_width: int = 128) -> None:
        super().__init__()
        self.form = checked(Form(blocks, width, heads, time_width))
        self.words_width = width
        self.space = space

    @classmethod
    def of(cls, pipe: Any, *, blocks: int = 2, heads: int = 8) -> "TextCarrier":
        """The carrier of a pipeline's text tokens.

        Raises:
            FitError: the pipeline has no text encoder to know its tokens by.
        """
        tensors = {
            f"{number}.{name}": value
            for number, suffix in enumerate(("", "_2"))
            if (encoder := getattr(pipe, f"text_encoder{suffix}", None)) is not None
            for name, value in meaning_of(encoder, getattr(pipe, f"tokenizer{suffix}", None)).items()
        }
        if not tensors:
            raise FitError("the pipeline has no text encoder. Make the carrier yourself: TextCarrier(width, space).")
        width = int(getattr(pipe.unet.config, "encoder_hid_dim", None) or pipe.unet.config.cross_attention_dim)
        return cls(width, fingerprint_of(tensors), blocks=blocks, heads=heads)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of({}, kind="text-carrier", space=self.space, **asdict(self.form))

    def forward(self, words: Tensor, times: Tensor, between: Between = as_they_are) -> Tensor:
        moment = sinusoid(times, self.form.time_width, words)
        for number in range(self.form.blocks):
            words = between(number, words, moment)
        return words


class SemanticConnector(nn.Module):
    """ELLA's Timestep-Aware Semantic Connector.

    The sizes that are not given are those of the released SD 1.5 model: 66,820,608 parameters. Source: ELLA (Hu et al.
    2024). No mask: padding is looked at like any other token, as released.

    Args:
        words_width: Of the language model's states; 2048 for Flan-T5-XL.
        width: Of the learned tokens, the UNet's `cross_attention_dim`.

    Raises:
        FitError: the heads do not divide the width.
    """

    carries_words = False

    def __init__(
        self,
        words_width: int = 2048,
        width: int = 768,
        *,
        blocks: int = 6,
        latents: int = 64,
        heads: int = 8,
        time_channels: int = 320,
        time_width: int = 768,
    ) -> None:
        super().__init__()
        self.form = checked(Form(blocks, width, heads, time_width))
        self.words_width, self.time_channels = words_width, time_channels
        self.time = TimestepEmbedding(time_channels, time_width)
        self.start = nn.Parameter(width**-0.5 * torch.randn(latents, width))
        self.start_time = nn.Linear(time_width, width)
        self.words = nn.Linear(words_width, width)
        self.blocks = nn.ModuleList(Perceiver(width, heads, time_width) for _ in range(blocks))

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.state_dict(), kind="semantic", **asdict(self.form))

    def forward(self, words: Tensor, times: Tensor, between: Between = as_they_are) -> Tensor:
        moment = self.time(sinusoid(times, self.time_channels, words))
        read = self.words(words)
        carried = (self.start + self.start_time(F.silu(moment))).expand(len(words), -1, -1)
        for number, block in enumerate(self.blocks):
            carried = between(number, block(carried, read, moment), moment)
        return carried

    def save(self, path: Path, training: Mapping[str, Any]) -> None:
        """One safetensors file with its card.

        Raises:
            OutputExists: something stands at `path`.
        """
        sizes = {
            "words_width": self.words_width, "latents": len(self.start), "time_channels": self.time_channels,
            **asdict(self.form),
        }  # fmt: skip
        write(path, self.state_dict(), {"intarsia": DOCUMENT, "sizes": sizes, "training": dict(training)})

    @classmethod
    def load(cls, path: Path) -> "SemanticConnector":
        """What `save` wrote, frozen; for the public weights see `ella.load_ella`.

        Raises:
            CardError: it is another kind of file, or its tensors are not what its card says.
        """
        tensors, card = read(path, DOCUMENT)
        made = cls(**card["sizes"])
        fill(made, tensors, path)
        return made.eval().requires_grad_(False)


def checked(form: Form) -> Form:
    """The form, if attention can be made in it."""
    if form.width % form.heads:
        raise FitError(f"{form.heads} heads do not divide a width of {form.width}; name another number of heads.")
    return form


def sinusoid(times: Tensor, width: int, like: Tensor) -> Tensor:
    """The moment of time steps (batch or 1): (batch or 1, 1, width), as diffusers' UNets make theirs."""
    features = get_timestep_embedding(times, width, flip_sin_to_cos=True, downscale_freq_shift=0)
    return features.to(like)[:, None]


def meaning_of(encoder: Any, tokenizer: Any = None) -> dict[str, Tensor]:
    """The weights of a text encoder that say what tokens mean.

    Adapters (LoRA) move the tokens a little, and words that were added (textual inversion) leave the others as they
    are: neither counts, so modules fit as before.
    """
    tables: set[str] = set()
    if tokenizer is not None:
        words = encoder.get_input_embeddings().weight
        tables = {name for name, one in encoder.named_parameters(remove_duplicate=False) if one is words}
    return {
        name: value[: tokenizer.vocab_size] if name in tables else value
        for name, value in encoder.state_dict().items()
        if "lora_" not in name
    }


def fingerprint_of(tensors: Mapping[str, Tensor], **facts: Any) -> str:
    """A short name for weights: of which shapes they are, and the sign of every number in them.

    Signs outlast a change of precision, so that the same weights in half precision have the same name; training
    changes them within a step. What tensors are called does not count, for libraries rename them.

    Raises:
        FitError: a weight is not in memory, as where a model is offloaded part by part.
    """
    if absent := next((name for name, value in tensors.items() if value.is_meta), None):
        raise FitError(f"the weight {absent!r} is not in memory: make the connector before offloading its model.")
    parts = sorted(
        hashlib.sha256(str(tuple(value.shape)).encode() + signs_of(value)).hexdigest()
        for value in tensors.values()
        if value.is_floating_point()
    )
    return hashlib.sha256(json.dumps([facts, parts], sort_keys=True).encode()).hexdigest()[:16]


def signs_of(values: Tensor) -> bytes:
    """A byte for each number: whether it is below zero."""
    return torch.signbit(values.detach()).cpu().contiguous().numpy().tobytes()
