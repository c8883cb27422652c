"""Noise for training: where time steps fall."""

import pytest
import torch
from diffusers import DDIMScheduler

from intarsia.train.noising import errors_of, noised


@pytest.mark.parametrize("late", [1.0, 0.6, 0.3])
def test_less_than_one_dwells_where_noise_is_high(late):
    torch.manual_seed(0)
    noise = DDIMScheduler(prediction_type="v_prediction")
    _, times, _ = noised(noise, torch.zeros(2000, 1, 1, 1), late=late)
    share = times / noise.config.num_train_timesteps
    assert share.mean() == pytest.approx(1 / (1 + late), abs=0.01)  # of u ** late, u even
    assert share.min() >= 0 and share.max() < 1


def test_channels_count_what_they_are_told():
    """Of two samples, one is off in the first channel alone and one in the second."""
    wanted = torch.zeros(2, 2, 3, 3)
    found = wanted.clone()
    found[0, 0], found[1, 1] = 1.0, 2.0
    assert errors_of(found, wanted).tolist() == [0.5, 2.0]
    assert errors_of(found, wanted, torch.tensor([2.0, 0.0])).tolist() == [1.0, 0.0]
