"""`intarsia run`: pictures from words, by the whole model and under faster plans, side by side."""

from pathlib import Path

import typer


def run(
    prompts: list[str] = typer.Argument(..., help="What to draw, one picture each: 'a fox in noto style'."),
    plan: list[str] = typer.Option(
        [], "--plan", "-p", help="A plan file or short name; say it again for more columns."
    ),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path = typer.Option(Path("out/run"), "--out", "-o", help="The folder to write; must not exist."),
    steps: int | None = typer.Option(
        None, min=1, help="Sampler steps; what the plan was made for, or 20, if not given."
    ),
    guidance: float = typer.Option(3.0, help="How strongly words lead."),
    seed: int = typer.Option(0, help="Same seed, same pictures."),
    rounds: int = typer.Option(3, min=1, help="How often each column is timed; the median ratio is reported."),
    device: str | None = typer.Option(None, help="cpu or cuda; cuda where there is one, if not given."),
) -> None:
    """Draw pictures. With plans, also a contact sheet, the drawn plans, and a report of MACs, seconds and drift."""
    from ..plan import load_plan
    from ..saving import new_folder, refuse_existing
    from ..shipped import model_folder, plan_file

    refuse_existing(out)
    folder = model_folder(model)
    plans = {Path(name).stem: load_plan(plan_file(name)) for name in plan}

    from ..eval.side_by_side import compare
    from ..hosts.pipelines import load_pipeline
    from .contact import contact_sheet
    from .report import write_report

    pipe = load_pipeline(folder, device=device)
    result = compare(
        pipe, prompts, plans, steps=steps, guidance=guidance, seed=seed, rounds=rounds if plans else 1,
        say=lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    with new_folder(out) as part:
        for name, pictures in result.pictures.items():
            for number, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
                slug = "".join(letter if letter.isalnum() else "-" for letter in prompt)[:40]
                picture.save(part / f"{number:02d}-{slug}-{name}.png")
        if plans:
            contact_sheet(prompts, result).save(part / "contact-sheet.png")
            (part / "plans.txt").write_text(
                "\n\n".join(f"{name}\n{text}" for name, text in result.drawings.items()) + "\n"
            )
            write_report(part / "report.md", prompts, result)
    for path in sorted(out.iterdir(), key=lambda path: (path.suffix == ".png", path.name)):
        typer.echo(f"wrote {path}")
