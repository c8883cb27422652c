"""The README's walk to a smaller model, with fewer steps."""

import shlex

from intarsia import Reuse, load_plan
from intarsia.plan import Use

from .pages import PAGES, commands_of, run


def test_the_walk_to_a_smaller_model_works(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGES["README.md"].split("## A smaller model")[1].split("\n## ")[0])
    assert len(commands) == 13
    for line in commands:
        short = line.replace("--steps 1000", "--steps 2 --drawings 2 --batch 2").replace(
            "--macs 0.7", "--macs 0.95 --steps 1 --prompt fox"
        )
        run(shlex.split(short), monkeypatch)
    assert (tmp_path / "out/both/contact-sheet.png").exists()
    assert (tmp_path / "out/all/contact-sheet.png").exists()
    rules = load_plan(tmp_path / "all.yaml").rules
    assert {type(rule.do) for rule in rules} == {Reuse, Use}
