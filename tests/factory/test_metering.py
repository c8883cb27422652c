"""Metering takes no longer than it says, says how long it took, and warns where its predictions are of little use."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from intarsia import FitError, factory
from intarsia.cli import measuring
from intarsia.factory import RuntimeClock, WallClock, clocks
from intarsia.factory.clocks import FEWEST, hurried, lasting, timed
from intarsia.factory.metering import LEAST, Subnets, device_from
from intarsia.factory.remote import export_subnets

from .conftest import CLOCK, kit_of

SUBNETS = 60
TWO_MINUTES = 120


@pytest.fixture
def passed(monkeypatch):
    """Seconds that have passed: none, until a test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(clocks, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


@pytest.mark.parametrize(
    ("largest", "seconds", "calls", "measured"),
    [(0.002, 6, 47, SUBNETS), (0.1, 80, 12, SUBNETS), (1.0, 110, 2, SUBNETS), (2.5, TWO_MINUTES, 2, SUBNETS / 2)],
)
def test_a_device_is_measured_within_two_minutes_however_slow_its_models(
    kit, passed, monkeypatch, largest, seconds, calls, measured
):
    called = []

    class Slow(torch.nn.Module):
        def __init__(self, number, each):
            super().__init__()
            self.number, self.each = number, each

        def forward(self, pictures):
            called.append(self.number)
            passed.seconds += self.each
            return pictures

    def made(subnets, number):
        macs = kit.grounds.costs(subnets.counts[[number]], len(kit.grounds.every_answer))["macs"]
        return Slow(number, largest * macs.item() / kit.host.outline.macs)

    monkeypatch.setattr(Subnets, "made", made)
    device = factory.meter_device(kit.host, subnets=SUBNETS, clock=WallClock())
    assert passed.seconds == pytest.approx(device.took, abs=0.1)
    assert seconds / 2 < device.took < seconds
    assert measured <= device.subnets == len(set(called)) <= SUBNETS
    assert called.count(0) >= calls
    assert device.scores["seconds"].spearman > 0.99
    assert device.seconds.slopes[0] == pytest.approx(largest / kit.host.outline.macs, rel=0.01)


def test_conversions_leave_no_less_time_for_measuring(kit, passed, monkeypatch):
    converted, called = [], []

    def convert(model, inputs, runtime, path):
        passed.seconds += 5
        converted.append(path)
        path.write_bytes(b"")

    def ready(path, precision):
        def run(inputs):
            called.append(path)
            passed.seconds += 0.01 + converted.index(path) / 1000

        return run

    monkeypatch.setattr(clocks, "convert", convert)
    monkeypatch.setattr(clocks, "backend_of", lambda _: SimpleNamespace(ready=ready, version=lambda: "onnx 1"))
    device = factory.meter_device(kit.host, subnets=SUBNETS, clock=RuntimeClock("onnx"))
    assert device.subnets == len(converted) == len({*converted}) == SUBNETS, "each is converted once"
    assert all(called.count(path) >= 2 * FEWEST for path in converted)
    assert device.took == pytest.approx(passed.seconds, abs=0.1)
    assert 5 * SUBNETS < device.took < 5 * SUBNETS + TWO_MINUTES


def test_subnets_are_spread_over_all_sizes(kit):
    count, answers = 40, len(kit.grounds.every_answer)
    macs = kit.grounds.costs(Subnets.stratified(kit.host, count).counts, answers)["macs"]
    places = (macs - macs.min()) / (kit.host.outline.macs - macs.min()) * count
    assert np.abs(places - np.arange(count)).max() < count / 6, "each in its own stratum, as near as units are fine"


class Busy(factory.MacsClock):
    """Slow on the way there, or on the way back: for a while the machine had something else to do."""

    def __init__(self, slow):
        super().__init__()
        self.__dict__.update(slow=slow, timed=0)

    def seconds(self, model, inputs):
        self.__dict__["timed"] += 1
        return super().seconds(model, inputs) * (3 if self.timed in self.slow else 1)


@pytest.mark.parametrize("slow", [range(LEAST + 1), range(LEAST + 1, 2 * LEAST + 1)], ids=["there", "back"])
def test_a_while_in_which_the_machine_was_slow_changes_nothing(kit, slow):
    quiet, busy = (factory.meter_device(kit.host, subnets=LEAST, clock=clock) for clock in (CLOCK, Busy(slow)))
    assert busy.seconds.slopes[0] == pytest.approx(quiet.seconds.slopes[0], rel=1e-6)


def test_scores_are_of_models_that_the_fit_has_not_seen(kit):
    counts = Subnets.stratified(kit.host, LEAST).counts
    macs = kit.grounds.costs(counts, len(kit.grounds.every_answer))["macs"].astype(float)
    seconds = macs * np.where(np.arange(LEAST) % 3 == 1, 1.25, 1.0)[macs.argsort().argsort()]
    score = device_from(kit.host, counts, seconds, macs, CLOCK.machine).scores["seconds"]
    assert score.error_95 == pytest.approx(0.2, abs=0.02)
    assert not score.within_10


def test_only_a_clock_of_the_wall_is_hurried_or_made_to_last():
    assert hurried(WallClock(threads=2), 0.5) == WallClock(threads=2, limit=0.5)
    assert hurried(RuntimeClock("onnx"), 0.5) == RuntimeClock("onnx", WallClock(limit=0.5))
    assert hurried(CLOCK, 0.5) is CLOCK
    assert hurried(WallClock(5, least=1, most=3), 2, 0.5) == WallClock(3, least=0.5, most=1.5, limit=2)
    assert lasting(RuntimeClock("onnx"), 0.1) == RuntimeClock("onnx", WallClock(least=0.1))
    assert lasting(WallClock(least=2), 0.1) == WallClock(least=2)
    assert lasting(CLOCK, 0.1) is CLOCK


def test_what_was_launched_has_ended_when_it_is_timed(passed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: setattr(passed, "seconds", passed.seconds + 1))
    assert timed(lambda: None) == 1
    assert WallClock(calls=3, warmups=1).seconds(torch.nn.Identity(), torch.zeros(1)) == 1


def test_a_supernet_that_is_not_where_devices_are_is_told_so(device, tmp_path):
    kit = factory.folded(kit_of())
    kit.host.module.to("meta")  # which stands for CUDA
    order = factory.Order(kit.space.read("red, blue"), factory.Budget(seconds=1), device)
    for measure in (
        lambda: factory.meter_device(kit.host, clock=CLOCK),
        lambda: export_subnets(kit.host, tmp_path / "there"),
        lambda: factory.fulfil(order, kit, clock=CLOCK),
    ):
        with pytest.raises(FitError, match=r"the supernet is on meta, and models are measured on the CPU"):
            measure()


@pytest.fixture
def poor(device):
    return dataclasses.replace(
        device, scores={**device.scores, "seconds": dataclasses.replace(device.scores["seconds"], spearman=0.62)}
    )


def test_a_device_that_predicts_poorly_says_so_whenever_it_is_made_or_found(
    kit, device, poor, monkeypatch, tmp_path, capsys
):
    assert device.doubts == ()
    (doubt,) = poor.doubts
    assert "seconds of models that the fit has not seen have a rank correlation of 0.62" in doubt
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path))
    monkeypatch.setattr(measuring, "measured", lambda *_: poor)
    for _ in range(2):
        assert measuring.this_machine(kit) == poor
        warned = capsys.readouterr().err
        assert f"warning: {doubt} Remove {next(tmp_path.rglob('*.yaml'))} first" in warned
