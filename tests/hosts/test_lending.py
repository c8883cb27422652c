"""A UNet is lent to another pipeline only if it predicts the same."""

import pytest

from intarsia import CardError
from intarsia.hosts.pipelines import lent_unet, load_pipeline
from intarsia.shipped import model_folder


def test_a_unet_that_predicts_something_else_is_not_lent():
    folder = model_folder("emoji")
    pipe = load_pipeline(folder)
    assert lent_unet(folder, pipe).config.in_channels == pipe.unet.config.in_channels
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type="epsilon")
    with pytest.raises(CardError, match="its UNet predicts 'v_prediction', that of the pipeline it should help 'eps"):
        lent_unet(folder, pipe)
