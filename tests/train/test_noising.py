"""Noise for training: where time steps fall."""

import pytest
import torch
from diffusers import DDIMScheduler

from intarsia.train.noising import noised


@pytest.mark.parametrize("late", [1.0, 0.6, 0.3])
def test_less_than_one_dwells_where_noise_is_high(late):
    torch.manual_seed(0)
    noise = DDIMScheduler(prediction_type="v_prediction")
    _, times, _ = noised(noise, torch.zeros(2000, 1, 1, 1), late=late)
    share = times / noise.config.num_train_timesteps
    assert share.mean() == pytest.approx(1 / (1 + late), abs=0.01)  # of u ** late, u even
    assert share.min() >= 0 and share.max() < 1
