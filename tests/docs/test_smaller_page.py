"""docs/smaller.md, run from top to bottom with fewer steps; what needs a model of one's own is passed over."""

import re

import torch

from intarsia import load_plan
from intarsia.hosts.assembled_unet import AssembledUNet
from intarsia.parts.expert_conv import MERGED_BYTES
from intarsia.plan import Use
from intarsia.shipped import PLANS
from tests.hosts.test_unet import COSTS, SMALLER

from .pages import PAGES, walk

PAGE = PAGES["smaller.md"]
(WRITTEN,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
WATCHING = "--steps 2 --prompt fox"


def changed(line):
    """The README's walk leaves out by MACs already, and runs the plan of all kinds."""
    if "path/to" in line or "plan assemble --macs" in line or "--plan all.yaml" in line:
        return None
    line = line.replace("--seconds 0.8", f"--seconds 0.95 {WATCHING}").replace("--macs 0.8", f"--macs 0.8 {WATCHING}")
    line = line.replace("intarsia run", "intarsia run --steps 2 --rounds 1")
    return line.replace("--steps 1000", "--steps 2 --drawings 2 --batch 2")


def test_the_page_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(WRITTEN)
    found = walk("smaller.md", monkeypatch, changed)
    said = capsys.readouterr().out
    small = found["small"].unet
    assert type(small) is AssembledUNet
    assert found["lineage"].origins["up_blocks.1.resnets.1.conv1.weight"] in said
    assert "times as fast" in said
    assert set(found["lineage"].sources.values()) == {"light"}
    assert MERGED_BYTES < small.moment.room < 2 * MERGED_BYTES
    filled = AssembledUNet.from_pretrained(tmp_path / "mine/unet").up_blocks[2].state_dict()
    light = found["light"].unet.up_blocks[2].state_dict()
    assert all(torch.equal(value, light[name]) for name, value in filled.items())
    assert load_plan(tmp_path / "both.yaml").rules[0].rows == "0:8"
    assert load_plan(tmp_path / "until.yaml").rules[0].do == Use("small")
    assert list((tmp_path / "out/taught").glob("*.png"))
    assert re.search(r"in 20 calls, \d+\.\d% of the whole host's", said)


def test_figures_of_plans_that_come_along():
    table = PAGE.split("| plan | left out")[1].split("\n\n")[0]
    told = re.findall(r"^\| `([\w-]+)` \| .* \| ([\d.]+) \| ([\d.]+) \|$", table, re.M)
    assert {name: (float(params), float(gmacs)) for name, params, gmacs in told} == {
        name: (params, round(macs / 1e9, 1)) for name, (_, params, macs) in SMALLER.items()
    }
    _, params, gmacs, _ = COSTS["SD 1.5"]
    assert f"{params} M and {gmacs} GMACs" in PAGE


def test_every_plan_of_one_row_is_told():
    of_one_row = {path.stem for path in PLANS.glob("*.yaml") if load_plan(path).rows == 1}
    assert of_one_row <= set(re.findall(r"`([\w-]+)`", PAGE))
    assert len(load_plan(PLANS / "emoji-light.yaml").rules) == 13
