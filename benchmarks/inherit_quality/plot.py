"""Draw the frontier of `results/inherit_quality.json`: how near to the whole model's pictures, at how many MACs.

python -m benchmarks.inherit_quality.plot        writes docs/frontier.svg
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

from benchmarks.results import RESULTS

SHOWN = {
    "fewer steps": ("fewer steps", "#888888", "s"),
    "DeepCache": ("DeepCache 0.1.1", "#cc4444", "o"),
    "T-GATE": ("T-GATE 1.0.0", "#cc8833", "D"),
    "even, half the line": ("branch 0, half the line", "#4477cc", "v"),
    "even, fitted": ("branch 0, fitted", "#44aa99", "^"),
    "searched": ("branch 0, searched", "#117733", "*"),
    "whole calls, most of the line": ("whole calls, most of the line", "#9966cc", "<"),
    "whole calls, searched": ("whole calls, searched", "#551188", "P"),
}
OUT = Path(__file__).parents[2] / "docs" / "frontier.svg"


def main() -> None:
    """One panel a sampler."""
    result = json.loads((RESULTS / "inherit_quality.json").read_text())
    samplers = sorted({row["sampler"] for row in result["rows"]})
    figure, panels = plt.subplots(
        1, len(samplers), figsize=(4.5 * len(samplers) + 2, 4), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, sampler in zip(panels[0], samplers, strict=True):
        for family, (label, colour, marker) in SHOWN.items():
            points = sorted(
                (1 / row["macs_ratio"], row["psnr"])
                for row in result["rows"]
                if (row["sampler"], row["family"]) == (sampler, family)
            )
            if points:
                panel.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker)
        panel.set_title(sampler)
        panel.set_xlabel("the whole run's MACs over the plan's")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("PSNR to the whole model's pictures, dB")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right upper")
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, metadata={"Date": None})
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
