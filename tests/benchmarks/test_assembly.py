"""What the benchmark of assemblies says, on figures that were made up so that the answers are known."""

import numpy as np
import pytest

from benchmarks.connect.assembly import ALIKE, Assembly, Scale, assembly_of, groups_of
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


def changed(sense):
    """Exchanging the palette changes colours by 8 and one style in twenty-five; exchanging the style, half of them."""
    return {"palette": figures(0.04, 8.0), "style": figures(0.5, 0.2)}[sense]


def assembled(*ways, drawn=drawn, changed=changed, joint=SENSES) -> Assembly:
    return assembly_of(SENSES, SCALES, ["modules", *ways], joint, drawn, changed)


@pytest.fixture
def assembly() -> Assembly:
    return assembled("decoupled", "concatenated")


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
    idle = assembled(drawn=lambda *_: figures(0.2, 10.0), joint=())
    kept = [claim for claim in idle.claims("words", alone=False) if "retention" in claim.name]
    assert len(kept) == 2
    assert not any(claim.holds for claim in kept)


def test_cross_talk_is_in_parts_of_what_the_own_reference_changes(assembly):
    crossed = assembly.cross_talk()
    assert crossed["palette"]["style told"]["share"] == pytest.approx(0.04 / 0.5)
    assert crossed["style"]["distance"]["share"] == pytest.approx(0.2 / 8)
    assert crossed["style"]["distance"]["interval"] == pytest.approx([0.2 / 8] * 2)
    each, means = [claim for claim in assembly.claims("words", alone=True) if "cross-talk" in claim.name]
    assert each.value == pytest.approx(0.08)
    assert each.holds
    assert means.value == max(one["signed"] for others in crossed.values() for one in others.values())
    assert means.holds


def test_cross_talk_that_means_hide_is_told():
    """Every second picture loses its style and every other one gains it, so that no mean moves."""
    mixed = np.arange(50) % 2
    hidden = assembled(
        drawn=lambda way, names, swapped: (
            drawn(way, names, swapped)
            | (
                {"style told": mixed if swapped is None else 1 - mixed}
                if len(names) == 2 and swapped != "style"
                else {}
            )
        ),
        changed=lambda sense: figures(1.0, 8.0) if sense == "palette" else figures(0.5, 0.2),
    )
    told = hidden.cross_talk()["palette"]["style told"]
    assert told["signed"] == 0
    assert told["share"] == 2


def test_what_means_would_say_of_cross_talk_is_told_beside(assembly):
    assert assembly.cross_talk()["palette"]["style told"]["signed"] == pytest.approx(0.03 / 0.8 / 0.8)


def test_a_pilot_exchanges_nothing():
    asked = []
    pilot = assembled(drawn=lambda *row: asked.append(row) or drawn(*row), changed=None, joint=())
    assert all(swapped is None for _, _, swapped in asked)
    assert pilot.told()[-1] == {"cross-talk": {}}


def test_rivals_are_set_beside_modules_as_they_were_trained():
    """Here those are as weak together as concatenation, whatever a scale made of them afterwards."""
    plain = {ALIKE: "concatenated"}
    both = assembled(
        ALIKE, "concatenated", drawn=lambda way, names, swapped: drawn(plain.get(way, way), names, swapped)
    )
    claims = {claim.name: claim.value for claim in both.claims("words", alone=True)}
    assert claims["mean retention above concatenated"] == claims["mean gain above concatenated"] == 0


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
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_pictures_of_one_cell_count_once():
    """Four copies of each value say no more than one: the interval is as wide, and twice as wide as if they did."""
    values = np.random.default_rng(0).random(100)
    copies, cells = np.tile(values, 4), np.tile(np.arange(100), 4)
    width, blind, known = (np.diff(one)[0] for one in (interval(values), interval(copies), interval(copies, cells)))
    assert known == pytest.approx(width)
    assert blind == pytest.approx(width / 2, rel=0.1)
    holed = np.where(cells == 3, np.nan, copies)
    assert np.diff(interval(holed, cells))[0] == pytest.approx(width, rel=0.1)


def test_pictures_side_with_the_colour_that_they_have():
    colours = [plain(shade) for shade in SHADES.values()]
    named = np.arange(len(SHADES))
    assert sided_with_words(np.stack(colours), named).all()
    assert not sided_with_words(np.stack([colours[(one + STEP) % len(colours)] for one in named]), named).any()
