"""`report.md`: what each plan saves and what it changes, measured in the run that wrote it."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..eval.side_by_side import SideBySide
from ..plan.bill import count


def write_report(path: Path, prompts: Sequence[str], result: SideBySide) -> None:
    """Write the report as a Markdown table and a line a picture."""
    rounds = len(result.seconds.rounds)
    lines = [
        "# Faster plans beside the whole model",
        "",
        f"{len(prompts)} pictures a column; seconds are ratios to the whole model, which ran in turn with each plan "
        f"({rounds} rounds, lowest to highest in brackets). PSNR is to the whole model's picture: higher is nearer.",
        "",
        "| plan | MACs a picture | of the whole | seconds, of the whole | median PSNR |",
        "|---|---|---|---|---|",
    ]
    for name, bill in result.bills.items():
        ratio, low, high = result.seconds.ratio(name)
        lines.append(
            f"| {name} | {count(bill.total)} | {bill.macs_ratio:.1%} | {ratio:.1%} [{low:.1%} to {high:.1%}] "
            f"| {statistics.median(result.drift[name]):.1f} dB |"
        )
    lines += ["", f"| prompt | {' | '.join(f'PSNR, {name}' for name in result.drift)} |"]
    lines += ["|---" * (1 + len(result.drift)) + "|"]
    for row, prompt in enumerate(prompts):
        drifts = " | ".join(f"{drift[row]:.1f} dB" for drift in result.drift.values())
        lines.append(f"| {prompt} | {drifts} |")
    here = result.machine
    lines += ["", f"{here['device']}, {here['threads']} threads, torch {here['torch']}."]
    path.write_text("\n".join(lines) + "\n")
