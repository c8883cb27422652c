"""A kit for choosing between clothes: a supernet and its assembler, trained on Fashion-MNIST. Every stage resumes.

python -m recipes.fashion.run --data runs/fashion/data
intarsia fulfil runs/fashion/kit --task "shoe, bag, coat" --milliseconds 2 -o out/shoes
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
import typer
from torch import Tensor

from intarsia import factory
from intarsia.hosts import timm_supernet
from intarsia.train import Schedule, fit, wear_average

from .pictures import MEAN, NAMES, SIZE, STD, WORDS, read

LOWEST = 0.22  # of the MACs; the least that this supernet has is 20.2%
CHANNELS = (32, 64, 96, 128)
TASKS = 6  # in a batch
SHARES = (0.22, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)


def main(
    data: Path = typer.Option(..., help="Where the files of Fashion-MNIST are."),
    runs: Path = typer.Option(Path("runs/fashion"), help="Where everything is kept."),
    concepts: int = typer.Option(3_000, help="Steps of the first stage."),
    customising: int = typer.Option(6_000, help="Steps of the second stage."),
    batch: int = typer.Option(96, help="Pictures in a batch."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(2_000, help="Test pictures that the report looks at."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pictures, answers = read(data, "train")
    host = timm_supernet.create(
        "resnet18", (1, SIZE, SIZE), grain=4, num_classes=len(NAMES), in_chans=1, channels=list(CHANNELS)
    )
    grounds = factory.Grounds.of(host.outline, host.answers)
    assembler = factory.Assembler(len(NAMES), len(grounds.site_of))
    by_answer = [(answers == number).nonzero().flatten() for number in range(len(NAMES))]
    stop_after = None if minutes is None else minutes * 60

    def labelled(_draw: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(pictures), (batch,))
        return pictures[rows], answers[rows]

    def asked(_draw: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tasks of two to five answers, as many pictures for each."""
        codes, rows = torch.zeros(TASKS, len(NAMES)), []
        for task in range(TASKS):
            chosen = torch.randperm(len(NAMES))[: int(torch.randint(2, 6, ()))]
            codes[task, chosen] = 1
            drawn = chosen[torch.randint(len(chosen), (batch // TASKS,))]
            rows += [by_answer[number][torch.randint(len(by_answer[number]), ())] for number in drawn]
        picked = torch.stack(rows)
        return pictures[picked], answers[picked], codes

    first = factory.Concepts(host, LOWEST)
    done = fit(
        first, labelled, Schedule(concepts, 2e-3, cooldown=concepts // 3), runs / "concepts", stop_after=stop_after
    )
    print(f"concepts: {done}")
    second = factory.Customising(host, assembler, LOWEST)
    schedule = Schedule(customising, 2e-3, cooldown=customising // 2)
    done = fit(second, asked, schedule, runs / "customising", stop_after=stop_after)
    print(f"customising: {done}")

    wear_average(second, runs / "customising")
    few = pictures[torch.randperm(len(pictures))[:1024]]
    factory.refreshed(host.module.eval(), few)  # the averaged weights never met the statistics
    card = {"trained on": "Fashion-MNIST (MIT), 60,000 pictures", "steps": [concepts, int(done["step"])]}
    kit = factory.Kit(host, assembler.eval(), factory.Space(NAMES, WORDS), LOWEST, (MEAN,), (STD,), card)
    shutil.rmtree(runs / "kit", ignore_errors=True)
    factory.save_kit(kit, runs / "kit")

    shown, known = (part[:tested] for part in read(data, "t10k"))
    tasks = [kit.space.task([NAMES[number], NAMES[(number + step) % 10]]) for step in (1, 3) for number in range(10)]
    found = factory.audit(kit, tasks, shown, known, SHARES)
    (runs / "audit.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
    print("share of MACs  " + "  ".join(f"{share:5.0%}" for share in SHARES))
    for way, rates in found.accuracy.items():
        print(f"{way:<15}" + "  ".join(f"{rate:5.1%}" for rate in rates))
    print("overlap        " + "  ".join(f"{share:5.0%}" for share in found.overlap))


if __name__ == "__main__":
    typer.run(main)
