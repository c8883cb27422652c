"""What is compared was trained to the end, and alike."""

import json
from dataclasses import asdict, replace

import pytest

from recipes.modules.training import MANNERS, Training, begin, ended, refuse_unequal, refuse_unequal_senses, told_by
from recipes.shapes.run import Sizes, World
from recipes.shapes.stage import Stage

SETTINGS = {"way": "decoupled", "steps": 4000, "batch": 32, "rate": 1e-3, "blocks": 2}
ONE = Training("decoupled", 4000, 32, 1, "no", 1e-3, 2, 60.0)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)


def leave(run, step):
    """What `train.fit` leaves of how far it came."""
    (run / "checkpoint").mkdir(parents=True, exist_ok=True)
    (run / "checkpoint/progress.json").write_text(json.dumps({"step": step, "seconds": 60.0}))


def test_half_a_training_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no such training"):
        ended(tmp_path)
    begin(tmp_path, **SETTINGS)
    leave(tmp_path, 500)
    with pytest.raises(SystemExit, match=r"stopped at step 500 of 4,000"):
        ended(tmp_path)
    leave(tmp_path, 4000)
    assert ended(tmp_path) == ONE


def test_a_training_goes_on_as_it_began(tmp_path, monkeypatch):
    begin(tmp_path, **SETTINGS)
    begin(tmp_path, **SETTINGS)
    with pytest.raises(SystemExit, match=r"rate 0\.001, now 0\.003"):
        begin(tmp_path, **SETTINGS | {"rate": 3e-3})
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(SystemExit, match="precision 'no', now 'bf16'"):
        begin(tmp_path, **SETTINGS)


@pytest.mark.parametrize(
    "other",
    [{"steps": 3000}, {"batch": 64}, {"processes": 2}, {"precision": "bf16"}, {"rate": 3e-3}, {"loudness_cost": 0.1},
     {"disturbance": 1.0}],
    ids=lambda one: next(iter(one)),
)  # fmt: skip
def test_what_was_trained_otherwise_is_not_compared(other):
    refuse_unequal({"style": ONE, "palette": replace(ONE, seconds=90.0), "ours": replace(ONE, way="ours", rate=1e-2)})
    with pytest.raises(SystemExit, match="not trained alike"):
        refuse_unequal({"style": ONE, "palette": replace(ONE, **other)})


def test_each_sense_is_trained_alike_in_all_ways():
    own = (*MANNERS, "steps")
    palette = replace(ONE, way="modules", loudness_cost=3e-3)
    identity = replace(palette, steps=8000, loudness_cost=1e-4, disturbance=1.5)
    rival = replace(ONE, steps=8000, rate=2e-3)
    trainings = {
        (f"{world} {name}", sense): one
        for world in ("first", "second")
        for name, sense, one in (
            ("palette", "palette", palette), ("identity", "identity", identity),
            ("decoupled-identity", "identity", rival),
        )
    }  # fmt: skip
    refuse_unequal_senses(trainings, own)
    with pytest.raises(SystemExit, match="not trained alike"):
        refuse_unequal_senses(trainings, MANNERS)
    for name, sense, other in (
        ("identity", "identity", {"loudness_cost": 1e-3}), ("identity", "identity", {"disturbance": 0.5}),
        ("identity", "identity", {"steps": 3000}), ("decoupled-identity", "identity", {"steps": 3000}),
        ("palette", "palette", {"rate": 5e-3}), ("palette", "palette", {"batch": 64}),
    ):  # fmt: skip
        key = f"second {name}", sense
        with pytest.raises(SystemExit, match="not trained alike"):
            refuse_unequal_senses(trainings | {key: replace(trainings[key], **other)}, own)
    quicker = {key: replace(one, rate=5e-3) for key, one in trainings.items() if key[1] == "palette"}
    with pytest.raises(SystemExit, match="not trained alike"):
        refuse_unequal_senses(trainings | quicker, own)


def test_a_file_tells_its_training():
    card = {"name": "style", "training": {**asdict(ONE), "loss": 0.5}}
    assert told_by(card) == ONE
    del card["training"]["processes"]
    with pytest.raises(SystemExit, match="'style' does not say its processes"):
        told_by(card)


def test_other_seeds_wait_for_the_first_ones_rates(tmp_path):
    with pytest.raises(SystemExit, match="Run --seed 0 until"):
        World(1, tmp_path, Stage(tmp_path, tmp_path), Sizes(parts=1, search=1, batch=4)).train_all(["modules"])
    assert not any(tmp_path.iterdir()), "it refuses before it trains for hours"
