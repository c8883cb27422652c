"""Forecasts are exact where they should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import Extrapolate, Fitted, Hold

computed_rows = st.lists(st.integers(0, 40), min_size=3, max_size=3, unique=True).map(lambda rows: sorted(rows)[::-1])


@given(st.sampled_from([1, 2]), computed_rows, st.integers(1, 9), st.tuples(*[st.floats(-5, 5)] * 3))
def test_order_p_is_exact_on_polynomials_of_degree_p(order, computed, ahead, coefficients):
    def value(row):
        return sum(c * row**power for power, c in enumerate(coefficients[: order + 1]))

    row = computed[0] + ahead
    weights = Extrapolate(order).weights(row, computed)
    told = sum(weight * value(point) for weight, point in zip(weights, computed, strict=False))
    assert told == pytest.approx(value(row), rel=1e-6, abs=1e-4)


@given(st.sampled_from([1, 2]), st.floats(0, 2), computed_rows, st.integers(1, 9))
def test_weights_add_up_to_one(order, damping, computed, ahead):
    for known in (computed, computed[:2], computed[:1]):
        assert sum(Extrapolate(order, damping).weights(known[0] + ahead, known)) == pytest.approx(1)


def test_no_damping_is_holding():
    assert Extrapolate(2, damping=0.0).weights(9, [7, 5, 2]) == pytest.approx((1, 0, 0))
    assert Hold().weights(9, [7]) == (1.0,)


def test_half_the_line():
    assert Extrapolate(1, damping=0.5).weights(8, [6, 4]) == pytest.approx((1.5, -0.5))


def test_fitted_weights_are_looked_up_by_distance():
    fitted = Fitted(((1.2, -0.2), (1.5, -0.5)))
    assert fitted.depth == 2
    assert fitted.weights(7, [6, 4]) == (1.2, -0.2)
    assert fitted.weights(8, [6, 4]) == fitted.weights(9, [6, 4]) == (1.5, -0.5)
    assert fitted.weights(7, [6]) == (1.0,)
