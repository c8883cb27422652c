"""What senses cost a step of Stable Diffusion 1.5: its UNet's shapes, ELLA's connector and three modules of its width.

    python -m benchmarks.connect.cost             four gigabytes of memory, some minutes
    python -m benchmarks.connect.cost --quick     the UNet at a quarter of its height and width; claims nothing

Weights are random, for cost does not depend on them, and gates are opened. Tokens are told once for each time step of a
schedule, so a step of a run finds them in a table; what telling them costs, once a run, is counted beside.
"""

import functools

import torch
import typer
from diffusers import UNet2DConditionModel

from benchmarks.results import at_most, write_result
from intarsia import hosts, rig
from intarsia.connect import Features, Modality, SemanticConnector, Stack, attached

SD: dict = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
LOOKED_AT = {  # tokens of a reference, and their width
    "style": (257, 1280),
    "silhouette": (8, 2048),
    "palette": (8, 22),
}
WORDS, TIME = 128, 500.0
MACS, SECONDS = 0.01, 0.03  # of a step, at most


def main(
    quick: bool = typer.Option(False, help="Small and brief, no claims worth anything."),
    rounds: int = typer.Option(5, help="Interleaved rounds of timing."),
) -> None:
    """Count, then time."""
    torch.set_grad_enabled(False)
    side = 16 if quick else 64
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD)
    host = hosts.of(unet, batch=2, height=side, width=side, tokens=64)
    whole = host.outline.macs
    unet.to_empty(device="cpu")
    for value in unet.parameters():
        torch.nn.init.trunc_normal_(value, std=0.02)
    connector = SemanticConnector().eval()
    modules = [Modality(name, connector, Features(width, "none")) for name, (_, width) in LOOKED_AT.items()]
    for module in modules:
        for block in module.blocks:
            for opening in block.openings:
                opening.fill_(0.1)
    stack = Stack(connector, modules)
    given = {name: torch.randn(1, *shape) for name, shape in LOOKED_AT.items()}
    words, tokens = torch.randn(2, WORDS, connector.words_width), torch.randn(2, 64, connector.form.width)
    noisy, time = torch.randn(2, 4, side, side), torch.tensor(TIME)
    telling = stack.macs(words[:1], {}) + stack.macs(words[1:], given)

    with attached(host, stack, guided=True) as senses:
        senses.give(**given)
        with rig.count_macs() as first:
            unet(noisy, time, encoder_hidden_states=words)
        with rig.count_macs() as known:
            unet(noisy, time, encoder_hidden_states=words)
    plain = functools.partial(unet, noisy, time, encoder_hidden_states=tokens)

    def with_senses() -> None:
        with attached(host, stack, guided=True) as senses:
            senses.table = table
            unet(noisy, time, encoder_hidden_states=words)

    with attached(host, stack, guided=True) as senses:
        senses.give(**given)
        senses.precompute(words, [TIME], guided=True)
        table = senses.table
    taken = rig.measure_seconds({"plain": plain, "with senses": with_senses}, rounds=1 if quick else rounds)
    middle, least, most = taken.ratio("with senses")
    rows = [
        {"what": "a step of the UNet", "MACs": whole, "seconds": [times[0] for times in taken.rounds]},
        {"what": "a step with three modules, in a table", "MACs": known.total, "over plain": [middle, least, most]},
        {"what": "telling the tokens of a step, once a run", "MACs": telling, "of a step": telling / whole},
        {"what": "a step whose tokens are not in a table", "MACs": first.total},
    ]  # fmt: skip
    claims = [] if quick else [
        at_most("MACs added to a step, of the UNet's", known.total / whole - 1, MACS),
        at_most("seconds added to a step", middle - 1, SECONDS),
    ]  # fmt: skip
    write_result("connect_cost", rows, claims, {"quick": quick, "latents": side, "batch": 2, "words": WORDS})


if __name__ == "__main__":
    typer.run(main)
