"""Plans beside what people attach to a pipeline: every way of drawing, with every chosen form of plan.

The samplers are dealt out so that each way meets each sampler, and so does each form.
"""

import pytest

from .drawings import SAMPLERS, WAYS, from_words
from .forms import CHOSEN, holds_its_laws

pytestmark = pytest.mark.filterwarnings("ignore")
DEALT = [
    (way, form, list(SAMPLERS)[(place + number) % len(SAMPLERS)])
    for place, way in enumerate(WAYS)
    for number, form in enumerate(CHOSEN)
]


@pytest.mark.parametrize(("way", "form", "sampler"), DEALT)
def test_every_way_of_drawing_holds_the_laws(way, form, sampler):
    holds_its_laws(WAYS[way](from_words(sampler)), form)
