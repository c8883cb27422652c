"""Orders are fulfilled within their budgets or refused; devices tell the truth about subnets they have not seen."""

import dataclasses
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from intarsia import CardError, FitError, OutputExists, OverBudget, factory, rig
from intarsia.factory import Budget, MacsClock, Order
from intarsia.factory.device import load_device, save_device
from intarsia.factory.fitting import fit_line, score_of
from intarsia.graphs.backends import BACKENDS

from .conftest import CLOCK, COLOURS, kit_of


def fulfilled(kit, words, budget, device=None, clock=CLOCK, **more):
    return factory.fulfil(Order(kit.space.read(words), budget, device), kit, clock=clock, **more)


def test_a_macs_clock_is_fitted_exactly(device):
    assert device.scores["seconds"].spearman > 0.999
    assert device.scores["seconds"].error_95 < 1e-6
    assert device.scores["memory"].spearman > 0.95
    assert device.held_out >= 16


def test_a_noisy_machine_is_fitted_within_its_noise():
    draws = np.random.default_rng(0)
    shares = draws.uniform(0.1, 1, (60, 12))
    macs = 1e6 * shares.sum(1) ** 2
    slow = 1 + np.linspace(0, 1, 12)  # seconds that MACs do not tell
    measured = (1e-3 + 1e-10 * macs + 1e-3 * shares @ slow) * draws.normal(1, 0.01, 60)
    line = fit_line(macs[::2], shares[::2], measured[::2])
    told = score_of(line.predict(macs[1::2], shares[1::2]), measured[1::2])
    assert told.spearman > 0.98
    assert told.error_95 < 0.05
    alone = dataclasses.replace(line, each_share=(0.0,) * 12)
    assert score_of(alone.predict(macs[1::2], shares[1::2]), measured[1::2]).error_95 > told.error_95


def test_two_hundred_orders_and_no_violation(kit, device):
    draws = random.Random(0)
    whole = fulfilled(kit, "all", Budget(macs=1e15), device).costs
    refused = 0
    for number in range(200):
        words = draws.sample(COLOURS, draws.randint(2, 6))
        bounds = {
            name: draws.uniform(0.3, 1.1) * whole[name]
            for name in draws.sample(sorted(whole), draws.randint(1, 3))
        }  # fmt: skip
        try:
            done = fulfilled(kit, ", ".join(words), Budget(**bounds), device)
        except OverBudget as refusal:
            assert any(refusal.cheapest[name] > bound for name, bound in bounds.items())
            refused += 1
            continue
        assert all(done.costs[name] <= bound for name, bound in bounds.items())
        if number % 10 == 0:
            with rig.count_macs() as counted:
                done.model(torch.zeros(1, 3, 32, 32))
            assert counted.total == done.costs["macs"]
            assert sum(value.numel() for value in done.model.parameters()) == done.costs["params"]
            assert done.costs["memory"] == rig.peak_bytes(done.model, torch.zeros(1, 3, 32, 32))
    assert 10 < refused < 190


def test_a_tighter_budget_is_never_larger(kit, device):
    before = None
    for seconds in np.linspace(0.006, 0.003, 8):
        kept = {
            rule.sites: set(rule.do.units)
            for rule in fulfilled(kit, "red, pink", Budget(seconds=seconds), device).plan.rules
        }
        assert before is None or all(units <= before[path] for path, units in kept.items())
        before = kept


@pytest.mark.parametrize("slower", [1.02, 1.1, 1.2])
def test_what_is_over_when_measured_is_made_smaller(kit, device, slower):
    class Slower(MacsClock):
        def seconds(self, model, inputs):
            return slower * super().seconds(model, inputs)

    budget = Budget(seconds=0.0038)
    done = fulfilled(kit, "all", budget, device, Slower())
    assert done.measured > 1
    assert done.costs["seconds"] <= 0.0038 < slower * fulfilled(kit, "all", budget, device).costs["seconds"]


def test_the_impossible_is_refused_with_the_cheapest(kit, device):
    with pytest.raises(OverBudget, match=r"the cheapest model for this task costs .* s and not 0.0001") as refusal:
        fulfilled(kit, "red, blue", Budget(seconds=1e-4), device)
    cheapest = fulfilled(kit, "red, blue", Budget(seconds=refusal.value.cheapest["seconds"]), device)
    assert cheapest.costs == refusal.value.cheapest
    with pytest.raises(OverBudget, match="parameters and not 10"):
        fulfilled(kit, "red, blue", Budget(params=10))


def test_the_same_order_the_same_bytes_in_another_process(kit, tmp_path):
    factory.save_kit(kit, tmp_path / "kit")
    code = (
        "import sys, torch; from pathlib import Path; from intarsia import factory as f; torch.set_num_threads(1)\n"
        "kit = f.load_kit(Path(sys.argv[1])); order = f.Order(kit.space.read(sys.argv[2]), f.Budget(macs=3.4e6))\n"
        "f.ship(order, f.fulfil(order, kit), kit, Path(sys.argv[3]))"
    )
    for place, words in (("a", "red, blue, grey"), ("b", "Grey,red,  BLUE")):
        subprocess.run([sys.executable, "-c", code, tmp_path / "kit", words, tmp_path / place], check=True)
    for name in ("model.safetensors", "recipe.json", "plan.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


FAMILIES = ("test_resnet", "mobilenetv3_small_050", "test_efficientnet", "test_convnext", "test_vit")


@pytest.mark.parametrize("architecture", FAMILIES)
def test_shipped_with_onnx_and_rebuilt_without_the_supernet(architecture, tmp_path):
    kit = kit_of(architecture, **({"img_size": 32} if "vit" in architecture else {}))
    order = Order(kit.space.read("pink, cool"), Budget(macs=0.85 * kit.host.outline.macs))
    done = factory.fulfil(order, kit)
    factory.ship(order, done, kit, tmp_path / "out", ["onnx"])
    built = factory.rebuild(tmp_path / "out")
    pictures = torch.randn(2, 3, 32, 32)
    wanted = done.model(pictures)
    assert torch.equal(built.model(pictures), wanted)
    session = BACKENDS["onnx"].ready(tmp_path / "out/model.onnx", torch.float32)
    found = torch.cat([session([one[None]])[0] for one in pictures])
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert json.loads((tmp_path / "out/report.json").read_text())["differs_from_pytorch"]["onnx"] <= 1e-4
    assert built.answers == ("green", "blue", "cyan", "pink")
    with pytest.raises(OutputExists):
        factory.ship(order, done, kit, tmp_path / "out")

    weights = tmp_path / "out/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CardError, match="not whole"):
        factory.rebuild(tmp_path / "out")
    recipe = tmp_path / "out/recipe.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"keep": {"nowhere": "0"}}))
    with pytest.raises(CardError, match="not a recipe"):
        factory.rebuild(tmp_path / "out")


def test_a_kit_survives_its_folder_and_damage_is_told(kit, tmp_path):
    factory.save_kit(kit, tmp_path / "kit")
    back = factory.load_kit(tmp_path / "kit")
    assert (back.space, back.lowest, back.mean, back.card) == (kit.space, kit.lowest, kit.mean, kit.card)
    task = kit.space.read("red, cool")
    assert np.array_equal(
        back.assembler.rank([task], back.grounds)[0].order, kit.assembler.rank([task], kit.grounds)[0].order
    )
    weights = tmp_path / "kit/supernet.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CardError, match="not a safetensors file"):
        factory.load_kit(tmp_path / "kit")
    with pytest.raises(CardError, match="not a kit"):
        factory.load_kit(tmp_path)


def test_a_device_survives_its_file_and_others_are_refused(kit, device, tmp_path):
    save_device(device, tmp_path / "d.yaml")
    assert load_device(tmp_path / "d.yaml") == device
    for changed, says in (
        ({"machine": {**device.machine, "threads": 8}}, "measured with threads 8, here it is 1"),
        ({"inputs": {"x": (1, 3, 64, 64)}}, "measured at"),
        ({"host": "abc"}, "measured for the supernet abc"),
    ):
        with pytest.raises(FitError, match=says):
            fulfilled(kit, "red, blue", Budget(seconds=1), dataclasses.replace(device, **changed))
    with pytest.raises(FitError, match="measure one with 'intarsia meter'"):
        fulfilled(kit, "red, blue", Budget(seconds=1))
    for text in ("", "intarsia: device/1", (tmp_path / "d.yaml").read_text() + "more: 1\n", "\x00"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(CardError, match=r"bad.yaml: not a device file"):
            load_device(tmp_path / "bad.yaml")
    with pytest.raises(FitError, match="a device is measured from 24"):
        factory.meter_device(kit.host, subnets=3, clock=CLOCK)


def test_batch_norms_are_refreshed_from_pictures(kit):
    pictures = 3 + 2 * torch.randn(64, 3, 32, 32)
    stale = fulfilled(kit, "red, blue", Budget(macs=3.5e6)).model
    fresh = fulfilled(kit, "red, blue", Budget(macs=3.5e6), pictures=pictures).model
    first = fresh.conv1[1].running_mean
    assert torch.allclose(first, fresh.conv1[0](pictures).mean((0, 2, 3)), atol=1e-5)
    assert not torch.allclose(stale.conv1[1].running_mean, first, atol=1e-2)
    assert not fresh.training
