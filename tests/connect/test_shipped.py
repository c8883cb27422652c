"""On the shipped model, through a whole guided pipeline of two steps: invariants 1, 2, 3 and 7."""

import copy
import hashlib
from types import SimpleNamespace

import pytest
import torch

from intarsia import CardError, hosts
from intarsia.connect import Features, Learning, Modality, SemanticConnector, Stack, TextCarrier, attached
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder

from .conftest import stirred

FEATURES = Features(12, "none")


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline(model_folder("emoji"), device="cpu")


@pytest.fixture(scope="module")
def carrier(pipe):
    return TextCarrier.of(pipe)


@pytest.fixture(scope="module")
def stock(pipe):
    return draw(pipe)


def fresh(name, carrier):
    torch.manual_seed(0)
    return Modality(name, carrier, FEATURES)


def draw(pipe, prompts="a fox in noto style", **more):
    return pipe(
        prompts, num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0), output_type="np", **more,
    ).images  # fmt: skip


def seen(seed=0):
    return torch.randn(1, 4, 12, generator=torch.Generator().manual_seed(seed))


def drawn_with(pipe, stack, prompts="a fox in noto style", **given):
    with attached(pipe, stack) as senses:
        senses.give(**given)
        return draw(pipe, prompts)


def sha(*modules):
    found = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def test_closed_gates_are_the_stock_pipeline_and_nothing_stays(pipe, carrier, stock):
    """Invariants 1 and 2: one, two and three closed modules; no weight; no reference; and afterwards."""
    for count in (1, 2, 3):
        names = ["style", "silhouette", "palette"][:count]
        stack = Stack(carrier, [fresh(name, carrier) for name in names])
        assert (drawn_with(pipe, stack, **dict.fromkeys(names, seen())) == stock).all()
    style = stirred(fresh("style", carrier), 1)
    assert (drawn_with(pipe, Stack(carrier, [style], {"style": 0.0}), style=seen()) == stock).all()
    assert (drawn_with(pipe, Stack(carrier, [style])) == stock).all()
    assert not (drawn_with(pipe, Stack(carrier, [style]), style=seen()) == stock).all()
    assert (draw(pipe) == stock).all()
    assert not pipe.unet._forward_pre_hooks


def test_an_absent_module_is_one_that_is_not_there(pipe, carrier):
    """Invariant 7, of a whole batch."""
    style, palette = stirred(fresh("style", carrier), 1), stirred(fresh("palette", carrier), 2)
    both = drawn_with(pipe, Stack(carrier, [palette, style]), style=seen(), palette=None)
    assert (both == drawn_with(pipe, Stack(carrier, [style]), style=seen())).all()


def test_a_row_without_a_reference_is_drawn_as_if_there_were_no_module(pipe, carrier):
    """Invariant 7, of one of two pictures of a batch."""
    prompts, stack = ["a fox", "a red apple"], Stack(carrier, [stirred(fresh("style", carrier), 1)])
    reference = seen()[0]
    mixed = drawn_with(pipe, stack, prompts, style=[reference, None])
    assert (mixed[0] == drawn_with(pipe, stack, prompts, style=[reference, reference])[0]).all()
    assert (mixed[1] == draw(pipe, prompts)[1]).all()
    assert not (mixed[0] == draw(pipe, prompts)[0]).all()


def test_training_a_module_leaves_the_pipeline_alone(pipe, carrier, stock):
    """Invariant 3: every weight and buffer of the UNet, the autoencoder and the text encoder."""
    pipe.unet.eval().requires_grad_(False)
    before = sha(pipe.unet, pipe.vae, pipe.text_encoder)
    module = fresh("style", carrier)
    untouched = sha(module)
    learning = Learning(Stack(carrier, [module]), hosts.of(pipe.unet), pipe.scheduler, watched=1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    words, _ = pipe.encode_prompt(["a fox", "a red apple"], "cpu", 1, False)
    batch = (torch.randn(2, 16, 8, 8), words, {"style": torch.randn(2, 4, 12)})
    for _ in range(2):
        with torch.enable_grad():
            learning(batch)["loss"].backward()
        optimizer.step()
    assert sha(module) != untouched
    assert sha(pipe.unet, pipe.vae, pipe.text_encoder) == before
    assert not any(value.grad is not None for value in pipe.unet.parameters())
    assert not (drawn_with(pipe, Stack(carrier, [module]), style=seen()) == stock).all()
    assert (draw(pipe) == stock).all()


def test_ellas_tokens_go_in_too(pipe, stock):
    """A connector of another number of tokens than the text has; this UNet also pools them, and draws what they say."""
    torch.manual_seed(0)
    connector = SemanticConnector(384, 384, blocks=1, latents=5, heads=8, time_width=64)
    drawn = drawn_with(pipe, Stack(connector, []))
    assert drawn.shape == stock.shape
    assert not (drawn == stock).all()
    assert not (drawn == drawn_with(pipe, Stack(connector, []), "a red apple in 3d style")).all()


def test_modules_of_another_text_encoder_are_refused(pipe, carrier, tmp_path):
    other = TextCarrier(384, "another")
    fresh("style", other).save(tmp_path / "style.safetensors", {})
    with pytest.raises(CardError, match="made for the connector"):
        Modality.load(tmp_path / "style.safetensors", carrier)
    assert TextCarrier.of(pipe).fingerprint == carrier.fingerprint


def test_modules_fit_where_words_were_added(pipe, carrier):
    """Textual inversion adds a row for its word, and the others mean what they meant."""
    tokenizer, encoder = copy.deepcopy((pipe.tokenizer, pipe.text_encoder))
    pipe.load_textual_inversion({"<mine>": torch.randn(384)}, tokenizer=tokenizer, text_encoder=encoder)
    table = encoder.get_input_embeddings().weight
    assert len(table) == len(pipe.text_encoder.get_input_embeddings().weight) + 1
    taught = SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder, unet=pipe.unet)
    assert TextCarrier.of(taught).fingerprint == carrier.fingerprint
    table.data[0] *= -1
    assert TextCarrier.of(taught).fingerprint != carrier.fingerprint
