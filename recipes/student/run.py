"""The student that ships: the emoji model's UNet, smaller, with removed kernels as experts, distilled.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE ACCELERATE_MIXED_PRECISION=bf16
    torchrun --nproc-per-node 2 -m recipes.student.run --rate 0.001      trains and writes the folder; resumes

What is left out was chosen by `intarsia plan assemble --seconds 0.55 -o emoji-light.yaml`; other seconds, another plan.
The rate was that of an earlier student, which was sought; without `--rate` it is sought anew.
Its teacher was trained in bf16 too. Needs what `recipes.base.run` keeps in `runs/base`, and
`pip install -e '.[recipes]'`.
"""

import json
from pathlib import Path

import torch
import typer
from accelerate import Accelerator

from intarsia import hosts, load_plan, rig, save_outline
from intarsia.hosts.pipelines import load_pipeline, quiet
from intarsia.lighten.record import Assembled
from intarsia.plan.text import write_plan
from intarsia.shipped import BORROWS, model_folder, plan_file
from intarsia.train import processes
from recipes.base.captions import TOKENS
from recipes.shipping import shipped_folder, write_card

from .screening import RATES, settled
from .ways import BATCH, WAYS, student_of, train

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "src/intarsia/models/emoji-light"
LIMIT_MB = 40
SCREENED = 500  # steps of each short training by which the rate is chosen
OTHER_MB = 0.2  # of the folder that are not weights: its outline, configs, card


def main(
    plan: str = typer.Option("emoji-light", help="What is left out."),
    steps: int = typer.Option(4500, help="Training steps in all."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps what it made."),
    runs: Path = typer.Option(Path("runs/student"), help="Where training is kept."),
    out: Path = typer.Option(SHIPPED, help="Where the finished student goes."),
    rate: float | None = typer.Option(None, help="Learning rate; sought if not given."),
    hours: float | None = typer.Option(None, help="Stop after so long; it resumes next time."),
) -> None:
    """Train the student; when all steps are done, write its folder."""
    torch.set_num_threads(1)
    state = processes()
    way, chosen = WAYS["ours"], load_plan(plan_file(plan))
    teacher = load_pipeline(model_folder("emoji"), device="cpu").unet
    stop_after = None if hours is None else hours * 3600
    weights_mb = 2 * sum(value.numel() for value in student_of(teacher, chosen, way)[0].parameters()) / 1e6
    if weights_mb > LIMIT_MB - OTHER_MB:
        raise SystemExit(f"its weights would be {weights_mb:.1f} MB; the folder may have {LIMIT_MB} MB in all.")
    rates = RATES if rate is None else (rate,)
    way = settled(way, teacher, chosen, base, runs / "rates" / plan, steps=SCREENED, rates=rates)
    student, done = train(way, teacher, chosen, base, runs / plan, steps=steps, stop_after=stop_after)
    if not state.is_main_process or not done.finished:
        return
    _, pairs, donors = student_of(teacher, chosen, way)
    outline = rig.outline_of(hosts.of(student), tokens=TOKENS)
    parameters = sum(value.numel() for value in student.parameters())
    with shipped_folder(out, limit_mb=LIMIT_MB) as part:
        with quiet():
            student.half().save_pretrained(part / "unet", safe_serialization=True)
        (part / BORROWS).write_text(json.dumps({"intarsia": "borrows/1", "from": "emoji"}, indent=2) + "\n")
        Assembled(write_plan(chosen), {"": "emoji"}, pairs, donors).save(part)
        save_outline(outline, part / "outline.json")
        told = {**done.last, "rate": way.rate, "incubated": way.incubate, "wall seconds": done.seconds}
        (part / "distilled.json").write_text(json.dumps(told, indent=2) + "\n")
        write_card(HERE / "CARD.md", part, {
            "hours": f"{done.seconds / 3600:.1f}", "steps": f"{steps:,}", "plan": plan,
            "batch": f"{BATCH * state.num_processes}", "precision": Accelerator().mixed_precision,
            "rate": f"{way.rate:g}", "incubated": f"{way.incubate:.0%}",
            "parameters": f"{parameters / 1e6:.1f}", "macs": f"{outline.macs / 1e6:.0f}",
        })  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
