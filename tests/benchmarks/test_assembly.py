"""What the benchmark of assemblies says, on figures that were made up so that the answers are known."""

import numpy as np
import pytest

from benchmarks.connect.assembly import Assembly, Scale, assembly_of, groups_of
from benchmarks.connect.conflict import SHADES, STEP, plain, sided_with_words
from benchmarks.connect.metrics import interval, ratio_interval

SENSES = ("palette", "style")
SCALES = {"style told": Scale("style", 1.0), "distance": Scale("palette", 0.0, more_is_better=False)}


def figures(style, distance, words=0.9):
    return {"style told": np.full(50, style), "distance": np.full(50, distance), "words": np.full(50, words)}


def drawn(way, names, swapped):
    """Modules keep all; a rival that has no effect keeps all of nothing; another has an effect alone only."""
    if way == "decoupled" or not names:
        return figures(0.2, 10.0)
    lost = 0.5 if way == "concatenated" and len(names) > 1 else 1.0
    style = 0.2 + 0.6 * lost * ("style" in names and swapped != "style")
    distance = 10.0 - 8.0 * lost * ("palette" in names and swapped != "palette")
    return figures(style + 0.03 * (swapped == "palette"), distance)


@pytest.fixture
def assembly() -> Assembly:
    return assembly_of(SENSES, SCALES, ["modules", "decoupled", "concatenated"], SENSES, drawn)


def test_all_groups():
    assert groups_of("abc") == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]


def test_gains_are_parts_of_the_way(assembly):
    assert assembly.gain(assembly.text, "style told") == 0
    assert assembly.gain(assembly.rows["modules"]["style",], "style told") == pytest.approx(0.75)
    assert assembly.gain(assembly.rows["modules"]["palette",], "distance") == pytest.approx(0.8)


def test_retention_of_distances_is_turned_round(assembly):
    kept = assembly.kept("concatenated", SENSES)
    assert kept["style told"]["retention"] == pytest.approx(0.5 / 0.8)
    assert kept["distance"]["retention"] == pytest.approx(2 / 6)
    assert kept["distance"]["gain together"] == pytest.approx(0.4)


def test_a_way_without_effect_cannot_win(assembly):
    assert assembly.kept("decoupled", SENSES)["style told"]["retention"] == 1.0
    assert assembly.means("decoupled") == (0.0, 0.0)
    claims = {claim.name: claim for claim in assembly.claims("words", alone=True)}
    for way in ("decoupled", "concatenated"):
        for what in ("retention", "gain"):
            assert claims[f"mean {what} above {way}"].value > 0
    assert all(claim.holds for claim in claims.values())


def test_modules_that_do_nothing_keep_nothing():
    idle = assembly_of(SENSES, SCALES, ["modules"], (), lambda *_: figures(0.2, 10.0))
    kept = [claim for claim in idle.claims("words", alone=False) if "retention" in claim.name]
    assert len(kept) == 2
    assert not any(claim.holds for claim in kept)


def test_cross_talk_is_in_parts_of_the_own_effect(assembly):
    crossed = assembly.cross_talk()
    assert crossed["palette"]["style told"]["share"] == pytest.approx(0.03 / 0.8 / 0.8)
    assert crossed["style"]["distance"] == {"share": 0, "interval": [0, 0]}


def test_cross_talk_is_measured_on_pictures_of_its_own():
    """Of many that are noisy: the interval holds the truth, and is narrower the more pictures there are."""

    def crossed(count):
        def draw(swapped):
            rng, found = np.random.default_rng(count), figures(0.8 - 0.6 * (swapped == "style"), 2.0)
            noise = rng.normal(0, 2, (2, count))
            return {
                "style told": np.full(count, found["style told"][0]),
                "distance": noise[0] if swapped is None else noise[1] + 0.4,
            }

        one = assembly_of(SENSES, SCALES, ["modules"], (), drawn, draw)
        return one.cross_talk()["style"]["distance"]

    few, many = crossed(200), crossed(5000)
    low, high = many["interval"]
    assert low < 0.04 / (0.6 / 0.8) < high
    assert low < many["share"] < high
    assert high - low < 0.5 * np.subtract(*few["interval"][::-1])


def test_rows_name_all_that_was_drawn(assembly):
    told = assembly.told()
    drawn = [(row["way"], tuple(row["shown"]), row["swapped"]) for row in told if "shown" in row]
    assert len(drawn) == len(set(drawn)) == 1 + 3 * 3 + 2 * 3 + 1 + 2


def test_intervals_hold_what_they_are_of():
    rng = np.random.default_rng(0)
    values = rng.random(400)
    low, high = interval(values)
    assert low < values.mean() < high < low + 0.1
    low, high = ratio_interval(values, 2 * values)
    assert low == pytest.approx(0.5) == high
    assert interval(np.array([1.0, np.nan])) == [1.0, 1.0]


def test_pictures_side_with_the_colour_that_they_have():
    colours = [plain(shade) for shade in SHADES.values()]
    named = np.arange(len(SHADES))
    assert sided_with_words(np.stack(colours), named).all()
    assert not sided_with_words(np.stack([colours[(one + STEP) % len(colours)] for one in named]), named).any()
