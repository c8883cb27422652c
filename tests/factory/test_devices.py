"""Devices of several runtimes, here and elsewhere; models that answer there as they do here."""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnxruntime
import pytest
import torch

from intarsia import CardError, FitError, OverBudget, RigError, factory
from intarsia.factory import Budget, Order, RuntimeClock, WallClock, clocks, metering, runtimes
from intarsia.factory.clocks import clock_for
from intarsia.factory.fulfil import LASTING, SPARE, TIMES
from intarsia.graphs.backends import BACKENDS

from .conftest import ALL_KINDS, CLOCK, KINDS, apart, call, kit_of, parts_of

QUICK = WallClock(calls=3, warmups=1, least=0, threads=1)
FEW = 5  # subnets: enough to see that they are measured, not for a fit of any use


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(metering, "LEAST", FEW)


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A folder with numpy and ONNX Runtime, and nothing else, to import from."""
    place = tmp_path_factory.mktemp("bare")
    for package in (np, onnxruntime):
        origin = Path(package.__file__).parent
        for folder in (origin, origin.with_name(f"{origin.name}.libs")):
            if folder.exists():
                (place / folder.name).symlink_to(folder)
    return place


def alone(bare, *words, script=True):
    """Run Python without what is installed here."""
    words = [sys.executable, "-S", *([] if script else ["-c"]), *map(str, words)]
    return subprocess.run(words, env={"PYTHONPATH": str(bare)}, capture_output=True, text=True, cwd=bare)


class Counting(RuntimeClock):
    """Converts and calls models on their runtime, and then says seconds that are the same on every machine.

    Attributes:
        least: Seconds that each measurement was to last.
        said: What it said.
    """

    least: ClassVar[list[float]] = []
    said: ClassVar[list[float]] = []

    def seconds(self, model, inputs):
        self.least.append(self.wall.least)
        super().seconds(model, inputs)
        self.said.append(1.1 * CLOCK.seconds(model, inputs))
        return self.said[-1]


def counted(monkeypatch):
    """The files that are converted from now on."""
    converted = []

    def convert(model, inputs, name, path, ours=runtimes.convert):
        converted.append(path)
        ours(model, inputs, name, path)

    for module in (clocks, runtimes):
        monkeypatch.setattr(module, "convert", convert)
    return converted


def whole_seconds(kit):
    """What the clock says of the whole supernet."""
    return CLOCK.seconds(kit.host.module, torch.zeros(1, *kit.host.size))


@pytest.mark.parametrize("metered", ALL_KINDS, indirect=True)
@pytest.mark.parametrize("runtime", runtimes.TIMED)
def test_budgets_bind_on_the_runtime_of_the_device(metered, runtime, monkeypatch, tmp_path):
    kit, device = metered
    called, converted = [], counted(monkeypatch)
    Counting.least.clear()
    Counting.said.clear()

    def ready(path, dtype, ours=BACKENDS[runtime].ready):
        called.append(torch.get_num_threads())
        return ours(path, dtype)

    monkeypatch.setitem(BACKENDS, runtime, dataclasses.replace(BACKENDS[runtime], ready=ready))
    clock = Counting(runtime, QUICK)
    there = dataclasses.replace(device, machine=clock.machine)
    assert clock_for(there.machine) == RuntimeClock(runtime, WallClock(threads=1))
    task, seconds = kit.space.read("red, blue"), whole_seconds(kit)
    order = Order(task, Budget(seconds=seconds), there)
    done = factory.fulfil(order, kit, clock=clock)
    assert done.predicted["seconds"] < done.costs["seconds"] <= seconds < 1.1 * there.predict(
        kit.assembler.rank([task], kit.grounds)[0]
    )["seconds"][-1]  # fmt: skip
    assert done.costs["seconds"] <= (1 - SPARE) * seconds
    assert done.measured > 1
    times = {said: len([*same]) for said, same in itertools.groupby(Counting.said)}
    assert times == {said: TIMES if said <= seconds else 1 for said in times}, "one that is over has been measured"
    assert len(times) == done.measured
    assert called == [1] * done.measured, "each is made ready once, and called with one thread"
    assert Counting.least == [LASTING] * len(Counting.said)
    assert len(converted) == done.measured
    assert done.took["convert"] > 0
    factory.ship(order, done, kit, tmp_path / "out", [runtime])
    assert len(converted) == done.measured  # what was measured is what is shipped
    assert not any(path.exists() for path in converted)


class Wall(WallClock):
    """Of the wall, and yet the same on every machine."""

    def seconds(self, model, inputs):
        return CLOCK.seconds(model, inputs)


@pytest.mark.parametrize("metered", ALL_KINDS, indirect=True)
def test_the_smallest_model_is_given_away_with_nothing_to_spare(metered):
    kit, device = metered
    clock, task = Wall(threads=1), kit.space.read("red, blue")
    there = dataclasses.replace(device, machine=clock.machine)

    def ordered(seconds):
        return factory.fulfil(Order(task, Budget(seconds=seconds), there), kit, clock=clock)

    with pytest.raises(OverBudget) as refusal:
        ordered(1e-9)
    least = refusal.value.cheapest["seconds"]
    assert ordered(1.001 * least).costs["seconds"] == least
    assert ordered(2 * least).costs["seconds"] <= (1 - SPARE) * 2 * least


@pytest.mark.parametrize("runtime", runtimes.TIMED)
def test_devices_of_other_runtimes_are_refused(folded_kit, device, runtime):
    there = dataclasses.replace(device, machine=RuntimeClock(runtime, QUICK).machine)
    order = Order(folded_kit.space.read("red, blue"), Budget(seconds=10), there)
    with pytest.raises(FitError, match=rf"with runtime '{runtime} .*', here it is 'torch'"):
        factory.fulfil(order, folded_kit, clock=QUICK)
    with pytest.raises(FitError, match=rf"with runtime 'torch', here it is '{runtime} "):
        here = dataclasses.replace(there, machine=QUICK.machine)
        factory.fulfil(dataclasses.replace(order, device=here), folded_kit, clock=RuntimeClock(runtime, QUICK))
    old = dataclasses.replace(there, machine={**there.machine, "runtime": f"{runtime} 0.1"})
    with pytest.raises(FitError, match=rf"with runtime '{runtime} 0.1', here it is '{runtime} "):
        factory.fulfil(dataclasses.replace(order, device=old), folded_kit)
    odd = dataclasses.replace(old, machine={"runtime": "abacus 1"})
    with pytest.raises(FitError, match="not on 'abacus'"):
        factory.fulfil(dataclasses.replace(order, device=odd), folded_kit)


def test_threads_are_the_devices_and_only_while_measuring():
    before = torch.get_num_threads()
    assert WallClock(threads=before + 1).machine["threads"] == before + 1
    assert clock_for({"threads": 10**6}).threads < 10**6
    seen = []
    WallClock(calls=1, least=0, threads=before + 1).seconds(lambda _: seen.append(torch.get_num_threads()), None)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_threads_of_other_runtimes_are_the_devices(monkeypatch, tmp_path):
    seen = []

    def ready(*_):
        seen.append(torch.get_num_threads())
        return lambda inputs: None

    monkeypatch.setattr(RuntimeClock, "converted", lambda *_: tmp_path)
    monkeypatch.setattr(clocks, "backend_of", lambda _: SimpleNamespace(ready=ready))
    wall = WallClock(calls=1, least=0, threads=torch.get_num_threads() + 1)
    RuntimeClock("onnx", wall, tmp_path).seconds(torch.nn.Identity(), torch.zeros(1))
    assert seen == [wall.threads]


@pytest.mark.parametrize(("each", "calls"), [(0.001, 20), (0.04, 8), (1.0, 5)])
def test_slow_models_are_timed_less_often(monkeypatch, each, calls):
    now, made = itertools.count(step=each), []
    monkeypatch.setattr(clocks, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    assert WallClock(warmups=0).median(lambda: made.append(1)) == pytest.approx(each)
    assert len(made) == calls


@pytest.mark.parametrize(("kept", "runtime"), zip(KINDS, itertools.cycle(["openvino", "onnx"])), indirect=["kept"])
def test_a_runtime_is_metered_and_converts_each_subnet_once(kept, runtime, few, monkeypatch, tmp_path):
    converted = counted(monkeypatch)
    words = ("--runtime", runtime, "--threads", 1, "--subnets", FEW, "--device", tmp_path / "d.yaml")
    code, out, refusal = call("meter", kept[1], *words)
    assert code == 0, refusal
    assert "on 2 models that the fit has not seen" in out
    assert len(set(converted)) == len(converted) == FEW
    assert not any(path.exists() for path in converted)
    found = factory.load_device(tmp_path / "d.yaml")
    assert found.machine == {**QUICK.machine, "runtime": BACKENDS[runtime].version()}
    assert not found.remote


@pytest.mark.parametrize("kept", KINDS, indirect=True)
def test_a_machine_without_pytorch_is_metered_by_a_script(kept, few, bare, tmp_path):
    kit, folder = kept
    there, times, device = tmp_path / "there", tmp_path / "there/times.json", tmp_path / "phone.yaml"
    assert alone(bare, "import torch", script=False).returncode != 0
    assert alone(bare, "import intarsia", script=False).returncode != 0
    assert call("meter", folder, "--export", there, "--subnets", FEW)[0] == 0
    ran = alone(bare, there / "time_models.py", "--threads", 1)
    assert ran.returncode == 0, ran.stderr
    assert "nothing was measured" in alone(bare, there / "time_models.py").stderr
    assert "--threads 0: give it one or more" in alone(bare, there / "time_models.py", "--threads", 0).stderr
    code, out, refusal = call("meter", folder, "--times", times, "--device", device)
    assert code == 0, refusal
    assert "on 2 models that the fit has not seen" in out

    found = factory.load_device(device)
    assert found.remote
    assert found.machine["runtime"] == f"onnx {onnxruntime.__version__}"
    with pytest.raises(FitError, match="Export its own"):
        factory.read_times(times, kit_of("test_efficientnet").host)
    read = json.loads(times.read_text())
    first, *others = read["of"]["subnets"]
    wrong = ({"counts": first["counts"][1:]}, {"counts": [10**4] * len(first["counts"])}, {"memory": 0})
    untrue = [{"of": read["of"] | {"subnets": [first | one, *others]}} for one in wrong]
    for damage in (
        {"measured": [one for one in read["measured"] if one[0]]},
        {"measured": [[0, 0], *read["measured"]]},
        {"measured": [[FEW, 1], *read["measured"]]},
        {"more": 1},
        {"of": {}},
        *untrue,
    ):
        (tmp_path / "bad.json").write_text(json.dumps(read | damage))
        with pytest.raises(CardError, match=r"bad\.json: "):
            factory.read_times(tmp_path / "bad.json", kit.host)
    assert "name one thing" in call("meter", folder)[1]
    assert "are of this machine" in call("meter", folder, "--export", "there", "--threads", 1)[1]
    assert "--subnets goes" in call("meter", folder, "--times", "t.json", "--device", "d.yaml", "--subnets", 9)[1]


@pytest.mark.parametrize("metered", ALL_KINDS, indirect=True)
def test_seconds_elsewhere_are_promised_with_caution(metered, bare, tmp_path):
    kit, device = metered
    score = dataclasses.replace(device.scores["seconds"], error_95=0.1)
    phone = dataclasses.replace(
        device, remote=True, machine={"device": "phone", "threads": 4, "runtime": "onnx 1.0"},
        scores={**device.scores, "seconds": score},
    )  # fmt: skip
    task, seconds = kit.space.read("red, blue"), 0.9 * whole_seconds(kit)
    order = Order(task, Budget(seconds=seconds), phone)
    done = factory.fulfil(order, kit)
    assert done.costs["seconds"] == pytest.approx(done.predicted["seconds"] / 0.9)
    assert done.measured == 0
    assert done.costs["seconds"] <= seconds
    near = factory.fulfil(Order(task, Budget(seconds=seconds), device), kit, clock=CLOCK)
    assert done.costs["macs"] < near.costs["macs"]
    with pytest.raises(OverBudget, match=r"costs .* s and not 0\.0001"):
        factory.fulfil(Order(task, Budget(seconds=1e-4), phone), kit)
    wild = dataclasses.replace(phone, scores={"seconds": dataclasses.replace(score, error_95=1.2)})
    with pytest.raises(FitError, match="off by 120%, so they bound nothing"):
        factory.fulfil(dataclasses.replace(order, device=wild), kit)
    with pytest.raises(FitError, match="measured for the supernet"):
        factory.fulfil(dataclasses.replace(order, device=dataclasses.replace(phone, host="abc")), kit)

    factory.ship(order, done, kit, tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["remote"], report["machine"]["device"]) == (True, "phone")
    ran = alone(bare, tmp_path / "out/time_models.py", tmp_path / "out/model.onnx", "--threads", 1)
    assert ran.stdout.endswith(" ms\n"), ran.stderr


def test_a_package_that_a_runtime_lacks_is_no_fault_of_the_model(kit, monkeypatch, tmp_path):
    def lacking(*_):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(runtimes, "backend_of", lambda _: SimpleNamespace(convert=lacking))
    monkeypatch.setattr(runtimes, "TRACED", {})
    with pytest.raises(ModuleNotFoundError, match="onnxscript"):
        runtimes.convert(kit.host.module, torch.zeros(1, *kit.host.size), "onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize("runtime", runtimes.TRACED)
def test_what_cannot_be_traced_is_exported(kit, runtime, monkeypatch, tmp_path):
    def refuse(*_):
        raise RuntimeError("there is no such operation")

    pictures = torch.randn(1, *kit.host.size)
    traced, exported = (tmp_path / name / runtimes.file_of(runtime) for name in ("traced", "exported"))
    traced.parent.mkdir()
    exported.parent.mkdir()
    runtimes.convert(kit.host.module, pictures, runtime, traced)
    monkeypatch.setitem(runtimes.TRACED, runtime, refuse)
    runtimes.convert(kit.host.module, pictures, runtime, exported)
    ways = [BACKENDS[runtime].ready(path, torch.float32)([pictures])[0] for path in (traced, exported)]
    torch.testing.assert_close(*ways, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", runtimes.FORMATS)
def test_boxes_and_scores_are_the_same_on_every_runtime(thing_kit, runtime, tmp_path):
    pytest.importorskip(BACKENDS[runtime].package)
    order, host = Order(thing_kit.space.read("red bar"), Budget(macs=0.8 * thing_kit.host.outline.macs)), thing_kit.host
    done = factory.fulfil(order, thing_kit)
    factory.ship(order, done, thing_kit, tmp_path / "out", [runtime])
    assert json.loads((tmp_path / "out/report.json").read_text())["differs_from_pytorch"][runtime] <= 1e-3
    run = BACKENDS[runtime].ready(tmp_path / f"out/model{BACKENDS[runtime].suffix}", torch.float32)
    pictures = torch.randn(3, *host.size)
    wanted = done.model(pictures)
    found = torch.cat([run([one[None]])[0] for one in pictures])
    (boxes, logits), (true, said) = parts_of(host, found), parts_of(host, wanted)
    assert (boxes - true).abs().max() <= 1e-3  # pixels
    assert (logits.sigmoid() - said.sigmoid()).abs().max() <= 1e-3
    assert max(apart(host, found, wanted)) <= 1e-4
    assert min(apart(host, wanted[0], wanted[1])) > 1e-2  # of constants all of this would be true


def test_what_answers_otherwise_is_not_kept(thing_kit, tmp_path, monkeypatch):
    def ready(path, dtype, ours=BACKENDS["openvino"].ready):
        run = ours(path, dtype)
        return lambda tensors: [run(tensors)[0] + 0.01]

    monkeypatch.setitem(BACKENDS, "openvino", dataclasses.replace(BACKENDS["openvino"], ready=ready))
    order = Order(thing_kit.space.read("bar"), Budget(macs=1e12))
    with pytest.raises(RigError, match=r"openvino answers otherwise than PyTorch, by 0\.01 in pixels"):
        factory.ship(order, factory.fulfil(order, thing_kit), thing_kit, tmp_path / "out", ["openvino"])
    assert not (tmp_path / "out").exists()


def test_more_threads_than_there_are_cannot_be_metered(folder, tmp_path):
    code, out, _ = call("meter", folder, "--threads", 10**6, "-o", tmp_path / "d.yaml")
    assert code == 2
    assert "processors" in out
    assert not (tmp_path / "d.yaml").exists()
