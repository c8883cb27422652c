"""`intarsia assemble`: the smaller model that a plan of one row describes."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import typer


class Routing(StrEnum):
    time = "time"
    input = "input"
    fixed = "fixed"


def assemble(
    plan: str = typer.Argument(..., help="A plan of one row, a file or a short name such as 'bk-base'."),
    model: str = typer.Option("emoji", help="The model to cut it out of: a short name, or a diffusers folder."),
    source: list[str] = typer.Option(
        [], help="Another model that the plan uses, as NAME=FOLDER: 'do: {use: NAME}' fills a site from it."
    ),
    experts: Routing | None = typer.Option(
        None,
        help="Let convolutions that stay inherit the kernels of removed ones, mixed by the time step (merged once for "
        "each, as far as memory goes), by the input, or in a fixed way.",
    ),
    most: int | None = typer.Option(None, min=1, help="With --experts: at most so many for each convolution."),
    out: Path = typer.Option(..., "--out", "-o", help="The new pipeline's folder."),
) -> None:
    """Make a smaller model out of the parts of others. It wants training afterwards: 'intarsia distill'."""
    from ..errors import CardError
    from ..plan import load_plan
    from ..plan.bill import count
    from ..plan.text import write_plan
    from ..saving import new_folder, refuse_existing
    from ..shipped import known_as, model_folder, plan_file
    from .reading import read_sources

    refuse_existing(out)
    if most is not None and experts is None:
        raise CardError("--most is of removed kernels that are inherited. Say --experts too.")
    found, folder, sources = load_plan(plan_file(plan)), model_folder(model), read_sources(source)

    from .. import hosts, rig
    from ..hosts.pipelines import load_pipeline, quiet
    from ..lighten.experts import with_experts
    from ..lighten.record import Assembled, ancestry_of, blocks_of, read_record

    pipe = load_pipeline(folder, device="cpu")
    tokens = pipe.tokenizer.model_max_length
    host = hosts.of(pipe.unet, tokens=tokens)
    others = {name: hosts.of(load_pipeline(path, device="cpu").unet) for name, path in sources.items()}
    record = read_record(folder)
    ancestry = None
    if record is not None and others:
        ancestry = ancestry_of(record, hosts.of(load_pipeline(model_folder(record.sources[""]), device="cpu").unet))
    smaller, lineage = rig.bake(found, host, others, ancestry=ancestry)
    blocks = blocks_of(smaller, lineage)
    donors: Mapping[str, tuple[str, ...]] = {}
    if experts is not None:
        smaller, donors = with_experts(smaller, pipe.unet, lineage, routing=experts.value, most=most)
    pipe.unet = smaller
    before, after = (sum(value.numel() for value in one.parameters()) for one in (host.module, smaller))
    macs = hosts.of(smaller, tokens=tokens).outline.macs
    with new_folder(out) as part, quiet():
        pipe.save_pretrained(part, safe_serialization=True)
        names = {name: known_as(path) for name, path in {"": folder, **sources}.items()}
        Assembled(write_plan(found), names, blocks, donors).save(part)
    typer.echo(f"{count(before)}parameters became {count(after)}; {count(host.outline.macs)}MACs a call, {count(macs)}")
    if donors:
        typer.echo(f"{len(donors)} convolutions inherit {sum(len(one) for one in donors.values())} removed ones")
    typer.echo(f"wrote {out}")
