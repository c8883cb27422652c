"""Orders are fulfilled within their budgets or refused; devices tell the truth about subnets they have not seen."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import timm
import torch
from torch import nn

from intarsia import CardError, FitError, Keep, OutputExists, OverBudget, RigError, factory, rig
from intarsia.factory import Budget, MacsClock, Order, runtimes
from intarsia.factory.device import load_device, save_device
from intarsia.factory.fulfil import MEASUREMENTS, stops_of
from intarsia.graphs.backends import BACKENDS
from intarsia.hosts import timm_supernet
from intarsia.hosts.timm_supernet import TimmSupernet

from .conftest import ALL_KINDS, CLOCK, KINDS, apart, detector_kit, kit_of


def fulfilled(kit, words, budget, device=None, clock=CLOCK, **more):
    return factory.fulfil(Order(kit.space.read(words), budget, device), kit, clock=clock, **more)


MANY = [(which, 200 if which == "kit" else 20) for which in ALL_KINDS]
MANY += [pytest.param("thing_kit", 200, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("metered", "orders"), MANY, indirect=["metered"])
def test_many_orders_and_no_violation(metered, orders):
    """However wrong the device is. Now and then all that is promised is counted anew."""
    kit, device = metered
    clock = Slower(kit, 1.1, 0.05)
    draws, picture = random.Random(0), torch.zeros(1, *kit.host.size)
    whole = fulfilled(kit, ", ".join(kit.space.names), Budget(macs=1e15), device, clock).costs
    refused = 0
    for number in range(orders):
        words = draws.sample(kit.space.names, draws.randint(2, len(kit.space.names)))
        bounds = {
            name: draws.uniform(0.3, 1.1) * whole[name]
            for name in draws.sample(sorted(whole), draws.randint(1, 3))
        }  # fmt: skip
        try:
            done = fulfilled(kit, ", ".join(words), Budget(**bounds), device, clock)
        except OverBudget as refusal:
            assert any(refusal.cheapest[name] > bound for name, bound in bounds.items())
            refused += 1
            continue
        assert all(done.costs[name] <= bound for name, bound in bounds.items())
        if number % 10 == 0:
            with rig.count_macs() as counted:
                done.model(picture)
            values = done.model.state_dict().values()
            assert done.costs == {
                "macs": counted.total, "params": sum(value.numel() for value in done.model.parameters()),
                "bytes": sum(value.numel() * value.element_size() for value in values),
                "memory": rig.peak_bytes(done.model, picture), "seconds": clock.seconds(done.model, picture),
            }  # fmt: skip
    assert 0.05 * orders < refused < 0.95 * orders


FINE = {"resnet": lambda: kit_of(grain=1), "vit": lambda: replace(kit_of("test_vit", img_size=32, grain=1), lowest=0.2)}


@pytest.fixture(scope="module", params=[*FINE, "thing_kit"])
def fine(request):
    """A kit with many small units, and its device."""
    kit = FINE[request.param]() if request.param in FINE else request.getfixturevalue("thing_kit")
    return kit, factory.meter_device(kit.host, subnets=24, clock=CLOCK)


def some(kit):
    """Words for a task of any kit."""
    return ", ".join(kit.space.names[::2])


class Slower(MacsClock):
    """Not as the device says: so many times slower, and so much more, of what the whole supernet takes."""

    def __init__(self, kit, times, more):
        super().__init__()
        self.__dict__.update(times=times, more=more * self.each_mac * kit.host.outline.macs)

    def seconds(self, model, inputs):
        return self.times * super().seconds(model, inputs) + self.more


class Stepping(MacsClock):
    """As the device says, and half as much more above some size, where a cache overflows."""

    def seconds(self, model, inputs):
        told = super().seconds(model, inputs)
        return told * (1.5 if told > 0.003 else 1)


WRONG = [(1, 0), (1.1, 0), (1.2, 0), (0.9, 0.12), (1.2, -0.1), (0.8, 0), (0.6, 0.5), (0.7, 0.4)]


@pytest.mark.parametrize("clock", [Stepping(), *WRONG], ids=str)
def test_a_tighter_budget_is_never_larger(fine, clock):
    kit, device = fine
    clock = Slower(kit, *clock) if isinstance(clock, tuple) else clock
    largest = clock.seconds(kit.host.module, torch.zeros(1, *kit.host.size))
    before, lengths = None, set()
    for share in np.linspace(1.02, 0.5, 16):
        try:
            done = fulfilled(kit, some(kit), Budget(seconds=share * largest), device, clock)
        except OverBudget:
            before = {}
            continue
        kept = {rule.sites: set(rule.do.units) for rule in done.plan.rules if isinstance(rule.do, Keep)}
        assert before is None or all(units <= before.get(path, set()) for path, units in kept.items())
        assert done.costs["seconds"] <= share * largest
        assert done.measured <= MEASUREMENTS
        before = kept
        lengths.add(sum(map(len, kept.values())))
    assert len(lengths) > 3


class Jumpy(MacsClock):
    """Wrong by up to 3 %, otherwise each time. Knows the parameters of all models that it timed, on noise."""

    def __init__(self, seed):
        super().__init__()
        self.__dict__.update(draws=np.random.default_rng(seed), timed=[])

    def seconds(self, model, inputs):
        assert inputs.unique().numel() > 3000, "the picture that devices are measured on"
        self.timed.append(sum(value.numel() for value in model.parameters()))
        return super().seconds(model, inputs) * self.draws.uniform(0.97, 1.03)


def test_no_model_is_measured_until_it_fits(deep_kit):
    """Several lengths of a ranking are one model, where a block is there with much or not at all."""
    device = factory.meter_device(deep_kit.host, subnets=24, clock=CLOCK)
    for seed in range(40):
        share = (0.5, 0.51, 0.68, 0.93)[seed % 4]  # a little more than a block begins at
        seconds, clock = share * CLOCK.each_mac * deep_kit.host.outline.macs, Jumpy(seed)
        done = fulfilled(deep_kit, some(deep_kit), Budget(seconds=seconds), device, clock)
        assert len(set(clock.timed)) == done.measured <= MEASUREMENTS


@pytest.mark.parametrize(("times", "more"), [(1.02, 0), (1.1, 0), (1.2, 0), (0.9, 0.2)])
def test_what_is_over_when_measured_is_made_smaller(fine, times, more):
    kit, device = fine
    seconds, picture = 0.95 * CLOCK.each_mac * kit.host.outline.macs, torch.zeros(1, *kit.host.size)
    clock, ideal = Slower(kit, times, more), fulfilled(kit, some(kit), Budget(seconds=seconds), device)
    done = fulfilled(kit, some(kit), Budget(seconds=seconds), device, clock)
    assert 1 < done.measured <= MEASUREMENTS
    assert done.costs["seconds"] <= seconds < clock.seconds(ideal.model, picture)
    ranking = kit.assembler.rank([kit.space.read(some(kit))], kit.grounds)[0]
    stops = stops_of(ranking, *(ranking.cut_at_share(share) for share in (kit.lowest, kit.highest)))
    length = next(stop for stop in stops if ranking.costs["macs"][stop - ranking.least] > done.costs["macs"])
    longer = rig.bake(ranking.plan(length), kit.host)[0]
    assert clock.seconds(longer, picture) > seconds  # and not smaller than it must be


@pytest.mark.parametrize("metered", ALL_KINDS, indirect=True)
def test_the_impossible_is_refused_with_the_cheapest(metered):
    kit, device = metered
    ranking = kit.assembler.rank([kit.space.read(some(kit))], kit.grounds)[0]
    least = ranking.costs["macs"][ranking.cut_at_share(kit.lowest) - ranking.least]
    with pytest.raises(OverBudget, match=r"the cheapest model for this task costs .* s and not 0.0001") as refusal:
        fulfilled(kit, some(kit), Budget(seconds=1e-4), device)
    cheapest = fulfilled(kit, some(kit), Budget(seconds=refusal.value.cheapest["seconds"]), device)
    assert cheapest.costs == refusal.value.cheapest
    with pytest.raises(OverBudget, match="parameters and not 10") as other:
        fulfilled(kit, some(kit), Budget(params=10))
    assert cheapest.costs["macs"] == other.value.cheapest["macs"] == least


def test_the_slower_of_two_measurements_is_promised(folded_kit, device):
    class Wavering(MacsClock):
        turn = count()

        def seconds(self, model, inputs):
            return super().seconds(model, inputs) * (1 + 0.05 * (next(self.turn) % 2))

    done = fulfilled(folded_kit, "all", Budget(seconds=0.0038), device, Wavering())
    assert CLOCK.seconds(done.model, torch.zeros(1, 3, 32, 32)) == pytest.approx(done.costs["seconds"] / 1.05)
    assert done.costs["seconds"] <= 0.0038


@pytest.mark.parametrize("kept", [*KINDS, "deep_kit"], indirect=True)
def test_the_same_order_the_same_bytes_in_another_process(kept, tmp_path):
    """However it is worded, and however many threads a process has."""
    kit, folder = kept
    code = (
        "import sys, torch; from pathlib import Path; from intarsia import factory as f; torch.set_num_threads(2)\n"
        "kit = f.load_kit(Path(sys.argv[1])); budget = f.Budget(macs=int(sys.argv[4]))\n"
        "order = f.Order(kit.space.read(sys.argv[2]), budget)\n"
        "f.ship(order, f.fulfil(order, kit), kit, Path(sys.argv[3])); assert torch.get_num_threads() == 2"
    )
    macs = int((kit.lowest + 0.3 * (1 - kit.lowest)) * kit.host.outline.macs)
    order = Order(kit.space.read(some(kit)), Budget(macs=macs))
    assert torch.get_num_threads() == 1
    factory.ship(order, factory.fulfil(order, kit), kit, tmp_path / "a")
    said = ",  ".join(reversed(some(kit).upper().split(", ")))
    subprocess.run([sys.executable, "-c", code, folder, said, tmp_path / "b", str(macs)], check=True)
    for name in ("model.safetensors", "recipe.json", "plan.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


FAMILIES = {
    "test_resnet": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "test_efficientnet": {},
    "test_convnext": {},
    "test_convnext2": {"use_grn": False, "conv_mlp": True},
    "test_vit": {"img_size": 32},
}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_shipped_with_onnx_and_rebuilt_without_the_supernet(architecture, tmp_path):
    kit = kit_of(architecture, **FAMILIES[architecture])
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
    said = json.loads(recipe.read_text())
    for wrong in ({"keep": {"nowhere": "0"}}, {"leave_out": ["nowhere"]}):
        recipe.write_text(json.dumps(said | wrong))
        with pytest.raises(CardError, match=r"not a recipe.*nowhere"):
            factory.rebuild(tmp_path / "out")


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("test_convnext", {}),
        ("test_vit", {"img_size": 32, "dynamic_img_size": False}),
    ],  # which OpenVINO cannot resample
)
def test_attention_and_layer_norms_are_the_same_on_openvino(architecture, arguments, tmp_path):
    kit = kit_of(architecture, **arguments)
    order = Order(kit.space.read("pink, cool"), Budget(macs=0.85 * kit.host.outline.macs))
    factory.ship(order, factory.fulfil(order, kit), kit, tmp_path / "out", ["openvino"])
    assert json.loads((tmp_path / "out/report.json").read_text())["differs_from_pytorch"]["openvino"] <= 1e-4


def test_what_a_runtime_cannot_do_is_told_in_a_line(monkeypatch, tmp_path):
    kit = kit_of("test_vit", img_size=32)  # which may resample its positions, though a trace does not
    order = Order(kit.space.read("pink, cool"), Budget(macs=1e12))
    done = factory.fulfil(order, kit)
    factory.ship(order, done, kit, tmp_path / "traced", ["openvino"])
    monkeypatch.delitem(runtimes.TRACED, "openvino")
    with pytest.raises(RigError, match=r"^openvino does not take this model: .*upsample_bicubic2d_aa.*another runtime"):
        factory.ship(order, done, kit, tmp_path / "out", ["openvino"])
    assert not (tmp_path / "out").exists()


def test_what_timm_builds_otherwise_is_neither_kept_nor_shipped(kit, tmp_path):
    for odd in ({"act_layer": "silu"}, {"channels": (32, 48, 48, 128)}):
        module = timm.create_model("test_resnet", num_classes=6, **odd)
        host = TimmSupernet(module, kit.host.size, architecture="test_resnet", arguments=kit.host.arguments)
        units = len(factory.Grounds.of(host.outline, host.answers).site_of)
        other = replace(kit, host=host, assembler=factory.Assembler(6, units), lowest=0.9)
        done = fulfilled(other, "red, blue", Budget(macs=1e12))
        refused = pytest.raises(FitError, match=r"timm\.create_model\('test_resnet'.* builds another model")
        module.train().layer1.eval()
        with refused:
            factory.save_kit(other, tmp_path / "out")
        assert module.training
        assert not module.layer1.training
        with refused:
            factory.ship(Order(kit.space.read("red, blue"), Budget(macs=1e12)), done, other, tmp_path / "out")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_a_detector_on_other_backbones(backbone, tmp_path):
    torch.manual_seed(0)
    kit = detector_kit(backbone)
    assert kit.host.module.strides == (8, 16, 32)
    assert {path.split(".")[0] for path in kit.grounds.sites} == {"backbone", "neck", "head"}
    order = Order(kit.space.read("red bar"), Budget(macs=0.8 * kit.host.outline.macs))
    done = factory.fulfil(order, kit)
    factory.ship(order, done, kit, tmp_path / "out", ["onnx"])
    assert json.loads((tmp_path / "out/report.json").read_text())["differs_from_pytorch"]["onnx"] <= 1e-3
    pictures = torch.randn(2, *kit.host.size)
    wanted = done.model(pictures)
    assert torch.equal(factory.rebuild(tmp_path / "out").model(pictures), wanted)
    assert min(apart(kit.host, *wanted)) > 1e-3  # constants would be the same anywhere


@pytest.mark.alone
def test_assembled_and_baked_within_a_second():
    host = timm_supernet.create("anchor_free_detector", (3, 96, 96), backbone="tf_efficientnet_lite0", num_classes=4)
    kit = detector_kit(host=host)
    order = Order(kit.space.read("red bar"), Budget(macs=0.6 * host.outline.macs))
    took = [factory.fulfil(order, kit).took for _ in range(4)]  # what else the machine does can only make it slower
    assert min(one["assemble"] + one["bake"] for one in took) < 1


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


def test_a_kit_in_half_precision_is_half_as_large_and_answers_nearly_alike(kit, tmp_path):
    for half in (False, True):
        factory.save_kit(kit, tmp_path / f"{half}", half=half)
    sizes = [(tmp_path / name / "supernet.safetensors").stat().st_size for name in ("False", "True")]
    assert sizes[1] < 0.6 * sizes[0]
    back, pictures = factory.load_kit(tmp_path / "True", fold=False), torch.randn(4, *kit.host.size)
    assert back.host.module.state_dict().keys() == kit.host.module.state_dict().keys()
    assert {one.dtype for one in back.host.module.parameters()} == {torch.float32}
    with torch.no_grad():
        wanted, found = (one.host.module(pictures) for one in (kit, back))
    assert 0 < (wanted - found).abs().max() < 0.01 * (wanted - wanted.mean(0)).abs().max() + 1e-3


def test_a_device_survives_its_file_and_others_are_refused(kit, folded_kit, device, tmp_path):
    save_device(device, tmp_path / "d.yaml")
    assert load_device(tmp_path / "d.yaml") == device
    for changed, says in (
        ({"machine": {**device.machine, "threads": 8}}, "measured with threads 8, here it is 1"),
        *(({"machine": {**device.machine, key: "odd"}}, f"measured with {key} 'odd'") for key in device.machine),
        ({"inputs": {"x": (1, 3, 64, 64)}}, "measured at"),
        ({"host": "abc"}, "measured for the supernet abc"),
    ):
        with pytest.raises(FitError, match=says):
            fulfilled(folded_kit, "red, blue", Budget(seconds=1), replace(device, **changed))
    with pytest.raises(FitError, match=r"this one is .*folding batch norms makes another of it"):
        fulfilled(kit, "red, blue", Budget(seconds=1), device)
    with pytest.raises(FitError, match="measure one with 'intarsia meter'"):
        fulfilled(kit, "red, blue", Budget(seconds=1))
    for text in ("", "intarsia: device/2", (tmp_path / "d.yaml").read_text() + "more: 1\n", "\x00"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(CardError, match=r"bad.yaml: not a device file"):
            load_device(tmp_path / "bad.yaml")
    with pytest.raises(FitError, match="a device is measured from 24"):
        factory.meter_device(kit.host, subnets=3, clock=CLOCK)


def statistics_of(model):
    """Means and variances of every batch norm, by name."""
    norms = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d))
    return {name: torch.stack([norm.running_mean, norm.running_var]) for name, norm in norms}


@pytest.mark.parametrize("which", KINDS)
def test_batch_norms_are_refreshed_from_pictures(which, request):
    kit, heard = request.getfixturevalue(which), {}
    pictures, budget = 3 + 2 * torch.randn(64, *kit.host.size), Budget(macs=0.95 * kit.host.outline.macs)
    stale, fresh = (fulfilled(kit, "red, blue", budget, pictures=shown).model for shown in (None, pictures))
    taken, before = statistics_of(fresh), statistics_of(stale)

    def listen(name):
        def hook(_norm, args):
            heard.setdefault(name, []).append(torch.stack([args[0].mean((0, 2, 3)), args[0].var((0, 2, 3))]))

        return hook

    for name in taken:
        stale.get_submodule(name).register_forward_pre_hook(listen(name))
    factory.refreshed(stale, pictures)
    for name, found in taken.items():  # of all calls: the head of a detector has one for each resolution
        assert torch.allclose(found, torch.stack(heard[name]).mean(0), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(found, before[name], rtol=0.1)
    assert not any(part.training for part in fresh.modules())
    for few in (pictures[:0], pictures[:1]):
        with pytest.raises(FitError, match="two or more"):
            factory.refreshed(fresh, few)
    assert all(torch.equal(found, taken[name]) for name, found in statistics_of(fresh).items())
