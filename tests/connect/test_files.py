"""Files of modules and connectors: invariant 11, and ELLA's released layout."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from intarsia import CardError, FitError, OutputExists
from intarsia.connect import Modality, SemanticConnector, Stack, TextCarrier, Window, fingerprint_of, load_ella
from intarsia.connect.ella import public_name

from .conftest import fresh, make_carrier, make_semantic, seen, spoken, told, words_for


@pytest.fixture
def saved(connector, tmp_path):
    path = tmp_path / "style.safetensors"
    spoken("style", connector).save(path, {"steps": 3})
    return path


def test_what_was_saved_speaks_as_before(connector, saved):
    """Invariant 11, to the bit."""
    words = words_for(connector)
    ours = told(Stack(connector, [spoken("style", connector)]), words, style=seen())
    loaded = Modality.load(saved, connector)
    assert torch.equal(told(Stack(connector, [loaded]), words, style=seen()), ours)
    assert not any(value.requires_grad for value in loaded.parameters())
    with safe_open(saved, framework="pt") as opened:
        card = json.loads(opened.metadata()["card"])
    assert card["training"] == {"steps": 3}
    assert card["connector"] == connector.fingerprint
    assert card["features"] == {"width": 12, "encoder": "none"}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name], "nothing half-written is left"


@pytest.mark.parametrize("window", [Window(), Window(lowest=600), Window(900, 100)])
def test_a_window_comes_back(connector, tmp_path, window):
    path, words = tmp_path / "style.safetensors", words_for(connector)
    module = spoken("style", connector, window=window)
    module.save(path, {})
    loaded = Modality.load(path, connector)
    assert loaded.window == window
    for time in (950.0, 600.0, 50.0):
        found = told(Stack(connector, [loaded]), words, time, style=seen())
        assert torch.equal(found, told(Stack(connector, [module]), words, time, style=seen()))
        silent = torch.equal(found, told(Stack(connector, []), words, time))
        assert silent == (time not in window)


def test_half_a_file_keeps_its_gates_whole(connector, tmp_path):
    path = tmp_path / "half.safetensors"
    module = spoken("style", connector)
    module.save(path, {}, half=True)
    kinds = {name: value.dtype for name, value in load_file(path).items()}
    assert {kind for name, kind in kinds.items() if "_gate." in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if "_gate." not in name} == {torch.float16}
    words = words_for(connector)
    found = told(Stack(connector, [Modality.load(path, connector)]), words, style=seen())
    torch.testing.assert_close(found, told(Stack(connector, [module]), words, style=seen()), rtol=0, atol=1e-2)


OTHERS = {
    "other text": (make_carrier, lambda: TextCarrier(16, "other", blocks=2, heads=4, time_width=32)),
    "other heads": (make_carrier, lambda: TextCarrier(16, "pico", blocks=2, heads=2, time_width=32)),
    "other width": (make_carrier, lambda: TextCarrier(24, "pico", blocks=2, heads=4, time_width=32)),
    "other weights": (make_semantic, lambda: make_semantic(1)),
    "other kind": (make_carrier, make_semantic),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_wrong_connector_is_refused_in_one_sentence(case, tmp_path):
    """Invariant 11."""
    ours, theirs = (make() for make in OTHERS[case])
    path = tmp_path / "style.safetensors"
    spoken("style", ours).save(path, {})
    with pytest.raises(CardError, match="made for the connector") as refusal:
        Modality.load(path, theirs)
    said = str(refusal.value)
    assert ours.fingerprint in said
    assert theirs.fingerprint in said
    assert "\n" not in said


def test_strange_files_are_refused(connector, saved, tmp_path):
    """Invariant 11: unknown tensors, missing ones, other shapes, other kinds of files."""
    with safe_open(saved, framework="pt") as opened:
        metadata = opened.metadata()
    whole = load_file(saved)
    card = json.loads(metadata["card"])

    def refused(said, tensors, changed=card):
        path = tmp_path / "strange.safetensors"
        save_file(tensors, path, metadata={"card": json.dumps(changed)})
        with pytest.raises(CardError, match=said):
            Modality.load(path, connector)

    refused("'more' is not known", whole | {"more": torch.zeros(1)})
    refused("'project.bias' is missing", {name: value for name, value in whole.items() if name != "project.bias"})
    refused(r"'project.bias' is \(3,\)", whole | {"project.bias": torch.zeros(3)})
    refused("says 'connector/1' where 'module/1'", whole, card | {"intarsia": "connector/1"})
    refused("its card lacks or has too much", whole, {name: value for name, value in card.items() if name != "gating"})
    refused("its card lacks or has too much", whole, card | {"gating": {"steepness": 1}})
    save_file(whole, tmp_path / "bare.safetensors")
    with pytest.raises(CardError, match="says None where 'module/1'"):
        Modality.load(tmp_path / "bare.safetensors", connector)
    (tmp_path / "text.safetensors").write_text("no")
    for name in ("text", "nowhere"):
        with pytest.raises(CardError, match="not a safetensors file"):
            Modality.load(tmp_path / f"{name}.safetensors", connector)
    with pytest.raises(OutputExists):
        spoken("style", connector).save(saved, {})


def test_a_connector_comes_back(tmp_path):
    connector, path = make_semantic(), tmp_path / "connector.safetensors"
    connector.save(path, {"steps": 1})
    loaded = SemanticConnector.load(path)
    assert loaded.fingerprint == connector.fingerprint
    words, times = words_for(connector), torch.tensor([500.0])
    assert torch.equal(loaded(words, times), connector(words, times))


def test_a_fingerprint_outlasts_precision_and_not_training():
    connector = make_semantic()
    before = connector.fingerprint
    assert make_semantic().half().fingerprint == before
    assert make_semantic().bfloat16().fingerprint == before
    connector.words.weight.sub_(0.01)
    assert connector.fingerprint != before
    assert fingerprint_of({}, kind=1) != fingerprint_of({}, kind=2)


def layout(words_width=2048, width=768, blocks=6, latents=64, channels=320):
    """Names and shapes in ella-sd1.5-tsc-t5xl.safetensors, written out by hand from the released model's parts."""

    def linear(name, out, within):
        return {f"{name}.weight": (out, within), f"{name}.bias": (out,)}

    shapes = {
        **linear("time_embedding.linear_1", width, channels), **linear("time_embedding.linear_2", width, width),
        "connector.latents": (latents, width), **linear("connector.time_aware_linear", width, width),
        **linear("connector.proj_in", width, words_width),
    }  # fmt: skip
    for number in range(blocks):
        block = f"connector.perceiver_blocks.{number}"
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        shapes |= linear(f"{block}.attn.out_proj", width, width)
        shapes |= linear(f"{block}.mlp.c_fc", 4 * width, width) | linear(f"{block}.mlp.c_proj", width, 4 * width)
        for norm in ("ln_1", "ln_2", "ln_ff"):
            shapes |= linear(f"{block}.{norm}.linear", 2 * width, width)
    return shapes


def test_the_released_layout_has_its_count_of_parameters():
    shapes = layout()
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 66_820_608
    with torch.device("meta"):
        ours = SemanticConnector().state_dict()
    assert {public_name(name): tuple(value.shape) for name, value in ours.items()} == shapes


def by_the_book(theirs, words, time, heads=8):
    """What ELLA answers, from tensors by their public names and its published formulas."""

    def linear(name, given):
        return given @ theirs[f"{name}.weight"].T + theirs[f"{name}.bias"]

    def norm(name, given):
        shift, scale = linear(f"{name}.linear", F.silu(moment)).chunk(2, -1)
        even = (given - given.mean(-1, keepdim=True)) / (given.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
        return even * (1 + scale) + shift

    half = theirs["time_embedding.linear_1.weight"].shape[1] // 2
    angles = time * torch.exp(-torch.arange(half) * torch.log(torch.tensor(10000.0)) / half)
    moment = linear("time_embedding.linear_1", torch.cat([angles.cos(), angles.sin()]))
    moment = linear("time_embedding.linear_2", F.silu(moment))
    carried = theirs["connector.latents"] + linear("connector.time_aware_linear", F.silu(moment))
    read = linear("connector.proj_in", words)
    for number in range(sum(name.endswith("in_proj_bias") for name in theirs)):
        block = f"connector.perceiver_blocks.{number}"
        asking = norm(f"{block}.ln_1", carried)
        keys = torch.cat([asking, norm(f"{block}.ln_2", read)])
        weights = theirs[f"{block}.attn.in_proj_weight"].chunk(3)
        biases = theirs[f"{block}.attn.in_proj_bias"].chunk(3)
        query, key, value = (
            (given @ weight.T + bias).unflatten(-1, (heads, -1)).transpose(0, 1)
            for given, weight, bias in zip((asking, keys, keys), weights, biases, strict=True)
        )
        looked = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value
        carried = carried + linear(f"{block}.attn.out_proj", looked.transpose(0, 1).flatten(1))
        wide = linear(f"{block}.mlp.c_fc", norm(f"{block}.ln_ff", carried)).relu().square()
        carried = carried + linear(f"{block}.mlp.c_proj", wide)
    return carried


SMALL = {"words_width": 24, "width": 16, "blocks": 2, "latents": 6, "channels": 32}


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["as released", "small"])
def test_the_released_layout_loads_and_answers_by_the_book(sizes, tmp_path):
    """Random weights of the exact shapes, in the released half precision."""
    generator = torch.Generator().manual_seed(0)
    theirs = {
        name: (torch.randn(shape, generator=generator) * shape[-1] ** -0.5).half()
        for name, shape in layout(**sizes).items()
    }
    path = tmp_path / "ella.safetensors"
    save_file(theirs, path)
    loaded = load_ella(path)
    words = torch.randn(1, 3, loaded.words_width, generator=generator)
    wanted = by_the_book({name: value.float() for name, value in theirs.items()}, words[0], 499.5)
    torch.testing.assert_close(loaded(words, torch.tensor([499.5]))[0], wanted, rtol=1e-4, atol=1e-4)
    path.unlink()
    save_file({name: value for name, value in theirs.items() if "latents" not in name}, path)
    with pytest.raises(CardError, match="not ELLA's released layout"):
        load_ella(path)


def test_a_fingerprint_outlasts_names_and_adapters():
    """Libraries rename weights, and a LoRA moves tokens a little; another weight is another fingerprint."""
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))

    def found(**more):
        state = {f"text_model.{name}": value for name, value in encoder.state_dict().items()} | more
        unet = SimpleNamespace(config=SimpleNamespace(cross_attention_dim=8))
        shelf = SimpleNamespace(state_dict=lambda: state)
        return TextCarrier.of(SimpleNamespace(text_encoder=shelf, unet=unet)).fingerprint

    before = found()
    assert found(**{"0.lora_A.weight": torch.randn(2, 4)}) == before
    assert found(position_ids=torch.arange(4)) == before
    assert found(more=torch.randn(2, 4)) != before
    assert fingerprint_of(encoder.state_dict()) == fingerprint_of(dict(zip("abcd", encoder.parameters(), strict=True)))
    with pytest.raises(FitError, match="not in memory"):
        fingerprint_of({"weight": torch.empty(2, device="meta")})


@pytest.mark.parametrize("name", ["type", "half", "items", "training", "my mood"])
def test_names_that_modules_cannot_have(connector, name):
    with pytest.raises(FitError, match=f"cannot be called '{name}'"):
        fresh(name, connector)


def test_modules_come_to_their_connector(connector):
    stack = Stack(connector.to(torch.bfloat16), [spoken("style", connector)])
    assert told(stack, words_for(connector), style=seen()).dtype == torch.float32
    wanted = {value.dtype for value in connector.parameters()} or {torch.float32}
    assert {value.dtype for value in stack.parameters()} == wanted


def test_tokens_are_as_wide_as_words_are_before_a_unet_projects_them():
    shelf = SimpleNamespace(state_dict=lambda: {"weight": torch.ones(3)})
    for words, width in ((None, 8), (24, 24)):
        unet = SimpleNamespace(config=SimpleNamespace(cross_attention_dim=8, encoder_hid_dim=words))
        assert TextCarrier.of(SimpleNamespace(text_encoder=shelf, unet=unet), heads=4).form.width == width


def test_both_text_encoders_count():
    unet = SimpleNamespace(config=SimpleNamespace(cross_attention_dim=8))
    first, second, other = (
        SimpleNamespace(state_dict=lambda of=of: {"weight": of * torch.ones(3)}) for of in (1, 1, -1)
    )
    found = {
        TextCarrier.of(SimpleNamespace(text_encoder=first, unet=unet, **more)).fingerprint
        for more in ({}, {"text_encoder_2": second}, {"text_encoder_2": other})
    }
    assert len(found) == 3


def test_carriers_of_a_pipeline_need_a_text_encoder(pipe):
    with pytest.raises(FitError, match="no text encoder"):
        TextCarrier.of(pipe)
    with pytest.raises(FitError, match="7 heads do not divide"):
        TextCarrier(16, "pico", heads=7)


def test_gates_of_the_wrong_connector_do_not_stack():
    with pytest.raises(FitError, match="was made for the connector"):
        Stack(make_semantic(), [spoken("style", make_carrier())])
