"""Plans beside what else people attach to a pipeline: ControlNet, inpainting, LoRA, SDXL, split guidance, offload."""

import pytest
import torch
from diffusers import (
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionInpaintPipeline,
)

from intarsia import hosts, rig
from intarsia.errors import FitError, RigError
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .conftest import xl_pipeline

STEPS = 6
pytestmark = pytest.mark.filterwarnings("ignore")


def settings(seed=1, **more):
    return {
        "num_inference_steps": STEPS,
        "output_type": "latent",
        "generator": torch.Generator().manual_seed(seed),
        "guidance_scale": 3.0,
        **more,
    }


def holds_its_laws(pipe, draw, sites="up_blocks.2"):
    """Interval 1 changes nothing, interval 2 something, a second run nothing more, and leaving restores."""
    host = hosts.of(pipe.unet)
    rows = hosts.rows(pipe.scheduler, STEPS)
    whole = draw()
    with rig.applied(inherit(rows, every=1, sites=sites), host):
        assert torch.equal(draw(), whole)
    with rig.applied(inherit(rows, every=2, sites=sites), host) as live:
        first = draw()
        assert first.isfinite().all()
        assert not torch.equal(first, whole)
        assert torch.equal(draw(), first)
    assert torch.equal(draw(), whole)
    assert any(call.recalled for call in live.trace)


def controlled():
    pipe = pico.pipeline()
    control = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 16)).eval()
    for _, value in control.named_parameters():
        value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    made = StableDiffusionControlNetPipeline(**pipe.components, controlnet=control, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def test_control_net():
    pipe = controlled()
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), image=picture, **settings()).images)


def test_live_skips_take_the_present_control(pico_host):
    """On a reuse call a residual on a live skip is felt at once, and one on a dead skip not at all."""
    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(tokens=pico.TOKENS).items()}
    sizes = [(16, 16)] * 3 + [(16, 8)] + [(32, 8)] * 2 + [(32, 4)] + [(32, 4)] * 2 + [(32, 2)] * 3

    def control(strong_at):
        return [
            torch.full((1, width, size, size), float(place == strong_at)) for place, (width, size) in enumerate(sizes)
        ]

    plan = inherit(4, every=4, sites="up_blocks.3.layers.1")  # of the skips, only conv_in's stays live
    with rig.applied(plan, pico_host):
        outputs = [
            pico_host.module(
                **given | {"timestep": time},
                down_block_additional_residuals=control(strong),
                mid_block_additional_residual=torch.zeros(1, 32, 2, 2),
            ).sample
            for time, strong in ((9, None), (8, None), (8, 0), (8, 7))
        ]
    assert not torch.equal(outputs[1], outputs[2])
    assert torch.equal(outputs[1], outputs[3])


def test_inpainting_with_nine_channels():
    pipe = pico.pipeline()
    parts = pipe.components | {"unet": pico.unet(in_channels=9)}
    made = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    picture, mask = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    holds_its_laws(
        made, lambda: made(**pico.prompt(), image=picture, mask_image=mask, height=32, width=32, **settings()).images
    )


def test_several_pictures_a_prompt():
    pipe = pico.pipeline()
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), num_images_per_prompt=3, **settings()).images)


def test_a_sampler_of_sigmas():
    pipe = pico.pipeline(scheduler=EulerDiscreteScheduler())
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), **settings()).images)


def test_without_guidance():
    pipe = pico.pipeline()
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), **settings(guidance_scale=1.0)).images)


def test_xl_base_and_a_run_that_ends_early():
    pipe = xl_pipeline()
    pooled = {"pooled_prompt_embeds": torch.ones(1, 8), "negative_pooled_prompt_embeds": torch.zeros(1, 8)}
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), **pooled, **settings()).images, sites="up_blocks.0")
    plan = inherit(hosts.rows(pipe.scheduler, STEPS), every=2, sites="up_blocks.0")
    with rig.applied(plan, hosts.of(pipe.unet)):
        alone = pipe(**pico.prompt(), **pooled, **settings()).images
        pipe(**pico.prompt(), **pooled, denoising_end=0.5, **settings())
        assert torch.equal(pipe(**pico.prompt(), **pooled, **settings()).images, alone)


def test_lora_fused_and_not():
    peft = pytest.importorskip("peft", reason="LoRA in diffusers needs peft, which intarsia does not")
    pipe = pico.pipeline()
    pipe.unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), **settings()).images)
    pipe.unet.fuse_lora()
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), **settings()).images)


def test_a_forward_that_stood_there_before_comes_back():
    """accelerate's offloading puts a forward of its own on modules; a plan works inside and leaves it."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    host = pico.host()
    unit = host.module.up_blocks[3].attentions[1]
    add_hook_to_module(unit, ModelHook())
    theirs = unit.__dict__["forward"]
    given = {name: torch.ones(value.shape) for name, value in host.inputs(tokens=pico.TOKENS).items()}
    with rig.applied(inherit(2, every=2, sites="up_blocks.3.layers.1"), host):
        assert unit.__dict__["forward"] is not theirs
        for time in (2, 1):
            host.module(**given | {"timestep": time})
    assert unit.__dict__["forward"] is theirs


def adapted(tokens=4, width=12):
    """A pipeline with an IP-Adapter of random weights in its UNet."""
    pipe = pico.pipeline()
    generator = torch.Generator().manual_seed(3)

    def real(*shape):
        return 0.3 * torch.randn(*shape, generator=generator)

    layers, number = {}, 1
    for name, processor in pipe.unet.attn_processors.items():
        if "attn2" in name:
            inner = pipe.unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            layers |= {f"{number}.to_k_ip.weight": real(inner, pico.WIDTH)}
            layers |= {f"{number}.to_v_ip.weight": real(inner, pico.WIDTH)}
            number += 2
        assert processor is not None
    projection = {
        "proj.weight": real(tokens * pico.WIDTH, width), "proj.bias": real(tokens * pico.WIDTH),
        "norm.weight": real(pico.WIDTH), "norm.bias": real(pico.WIDTH),
    }  # fmt: skip
    pipe.unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": layers}])
    pipe.unet.eval().requires_grad_(False)
    return pipe


def test_ip_adapter():
    pipe = adapted()
    seen = [torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(4))]
    holds_its_laws(pipe, lambda: pipe(**pico.prompt(), ip_adapter_image_embeds=seen, **settings()).images)
    assert hosts.of(pipe.unet, batch=2, tokens=pico.TOKENS).outline.macs > 0


def test_guidance_within_an_interval():
    """Guidance that is on, off, on and off again changes the batch in mid-run, and every change is computed whole."""
    pipe = pico.pipeline()
    words = pico.prompt()
    both = torch.cat([words["negative_prompt_embeds"], words["prompt_embeds"]])

    def switch(pipe, step, _time, tensors):
        guided = step + 1 in (0, 1, 4)
        pipe._guidance_scale = 3.0 if guided else 1.0
        tensors["prompt_embeds"] = both if guided else both[1:]
        return tensors

    def draw():
        more = {"callback_on_step_end": switch, "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
        return pipe(**words, **settings(**more)).images

    holds_its_laws(pipe, draw)
    with rig.applied(
        inherit(hosts.rows(pipe.scheduler, STEPS), every=6, sites="up_blocks.2"), hosts.of(pipe.unet)
    ) as live:
        draw()
        assert [call.refreshed for call in live.trace] == [False, False, True, False, True, True]


def test_xl_refining_begins_in_mid_run():
    """A refiner takes up the noise where the base left it: its run has fewer rows, and is a run of its own."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    parts = {
        name: part for name, part in xl_pipeline().components.items() if "image" not in name and "feature" not in name
    }
    refiner = StableDiffusionXLImg2ImgPipeline(**parts)
    refiner.set_progress_bar_config(disable=True)
    pooled = {"pooled_prompt_embeds": torch.ones(1, 8), "negative_pooled_prompt_embeds": torch.zeros(1, 8)}
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(5))

    def draw():
        return refiner(**pico.prompt(), **pooled, image=noisy, denoising_start=0.4, **settings()).images

    holds_its_laws(refiner, draw, sites="up_blocks.0")


@pytest.mark.parametrize(
    "changes",
    [
        {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 8},
        {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 8},
        {"class_embed_type": "timestep"},
        {"class_embed_type": "identity"},
        {"num_class_embeds": 10},
        {"time_cond_proj_dim": 8},
        {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
        {"sample_size": (8, 16)},
        {"cross_attention_dim": (16, 16, 16, 16)},
    ],
    ids=str,
)
def test_every_variety_of_unet_has_an_outline(changes):
    host = hosts.of(pico.unet(**changes), tokens=pico.TOKENS)
    assert host.outline.macs > 0


def test_a_unet_without_a_size_asks_for_one():
    host = hosts.of(pico.unet(sample_size=None))
    with pytest.raises(FitError, match="no sample_size"):
        _ = host.outline
    assert hosts.of(pico.unet(sample_size=None), height=16).outline.macs > 0


def test_a_forward_that_is_left_behind_is_noticed():
    """Whoever patches a model under a plan and does not undo it is told, and the model is as it was."""
    host = pico.host()
    unit = host.module.up_blocks[3].attentions[1]
    plan = inherit(2, every=2, sites="up_blocks.3.layers.1")
    with pytest.raises(RigError, match=r"put on 'up_blocks.3.attentions.1' under the plan"), rig.applied(plan, host):
        unit.forward = lambda *args, **kwargs: None
    assert "forward" not in unit.__dict__
