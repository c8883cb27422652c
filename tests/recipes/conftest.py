"""A few real sprites (public domain and CC0; see NOTICE)."""

from pathlib import Path

import pytest

from recipes.sprites.sprites import Sprites


@pytest.fixture(scope="session")
def sprites():
    return Sprites.load(Path(__file__).with_name("sprites.npz"))
