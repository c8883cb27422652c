"""Figures of rows are worked out once, and outlive the machine."""

import numpy as np
import pytest

from benchmarks.answers import Answers
from recipes.modules.training import Training

TRAINED = Training("modules", 3, 32, 1, "no", 1e-3, 2, 60.0)


def never():
    raise AssertionError("it is known")


def test_rows_are_kept_as_they_come(tmp_path):
    path, asked = tmp_path / "deep" / "seed-0.npz", {"pictures": 2, "stage": [1, 2]}
    first = Answers.of(path, asked)
    assert first.training("style", lambda: TRAINED) == TRAINED
    figures = {"hue off, degrees": np.array([1.0, np.nan])}
    assert first.row("modules|style,palette|", lambda: figures) is figures

    again = Answers.of(path, asked)
    assert again.training("style", never) == TRAINED
    np.testing.assert_array_equal(again.row("modules|style,palette|", never)["hue off, degrees"], [1.0, np.nan])
    again.row("real", lambda: {"hue": np.ones(2), "shape": np.zeros(2)})

    third = Answers.of(path, asked)
    assert third.row("real", never).keys() == {"hue", "shape"}
    assert third.rows.keys() == {"modules|style,palette|", "real"}
    with pytest.raises(SystemExit, match="remove it to ask anew"):
        Answers.of(path, asked | {"pictures": 3})
