"""Put a stack between the words and a UNet, and take it away again.

A native pre-hook on the UNet, and on each ControlNet of a pipeline, exchanges the words of a call for what the stack
makes of them. Nothing is wrapped and no module is added, so plans, adapters and offloading work as before, and what
is left on the way out is the stock model.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from .. import hosts
from ..errors import FitError, RigError
from ..rig import Host
from .reference import Given
from .stack import Stack
from .table import Table, Uncond

WORDS = 2  # where the words stand among the positional arguments of UNets and ControlNets, after sample and time step
ATTACHED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
# Guidance of three predictions, whose rows are not two halves: a pipeline says so under these names.
THREE_WAYS = ("do_perturbed_attention_guidance", "image_guidance_scale")


class Attachment:
    """A stack at work. It begins with no reference, so that all modules are silent."""

    def __init__(self, stack: Stack, guided: Callable[[], bool], uncond: Uncond = "off") -> None:
        self.stack = stack
        self.guided = guided
        self.uncond: Uncond = uncond
        self.table = Table(stack, {}, uncond)

    def give(self, **references: Given | None) -> None:
        """Set the references of the calls to come, by module; a module that is not named, or given None, is silent.

        Each is features (batch, tokens, width), or a list with (tokens, width) or None for each sample. Fewer than
        there are samples are repeated, each for its neighbours, as pipelines repeat prompts.

        Raises:
            FitError: no module has this name, or its features are of another width.
        """
        self.table = Table(self.stack, self.stack.references(references), self.uncond)

    def precompute(self, words: Tensor, times: Iterable[float], *, guided: bool = False) -> None:
        """Work out the tokens of a run beforehand, so that its calls cost what the stock pipeline's do.

        Args:
            words: As the UNet will be called with them: with guidance, the states without words come first.
            times: The time steps of the run, `scheduler.timesteps`.
            guided: Whether the words are two such halves.
        """
        self.table.precompute(words, times, guided)

    def hook(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Exchange the words of a call that begins."""
        time = args[1] if len(args) > 1 else kwargs["timestep"]
        words = args[WORDS] if len(args) > WORDS else kwargs["encoder_hidden_states"]
        # A ControlNet that guesses is called with the half that has words.
        guided = self.guided() and not kwargs.get("guess_mode", False)
        tokens = self.table.tokens(words, torch.as_tensor(time), guided)
        if not self.stack.connector.carries_words and kwargs.get("encoder_attention_mask") is not None:
            kwargs = kwargs | {"encoder_attention_mask": None}  # it says which words are padding; these are no words
        if len(args) > WORDS:
            return (*args[:WORDS], tokens, *args[WORDS + 1 :]), kwargs
        return args, kwargs | {"encoder_hidden_states": tokens}


@contextmanager
def attached(
    target: Host | DiffusionPipeline,
    stack: Stack,
    *,
    guided: bool = False,
    uncond: Uncond = "off",
    also: Sequence[nn.Module] = (),
) -> Iterator[Attachment]:
    """Let a stack speak into every call of a UNet inside the block.

    Args:
        target: A pipeline, which says itself whether it guides and whose ControlNets hear the same words; or a host,
            for calls of your own, and for a pipeline that guides in two calls instead of in two halves of one.
        guided: Of a host only: whether the first half of the rows of each call is the prediction without words.
        uncond: Whether that half hears references: "off", so that guidance strengthens words and references alike;
            or "same", so that it strengthens words only and references just steer.
        also: UNets that are called with the same words beside the target's own, such as a teacher.

    Raises:
        FitError: the stack's tokens are of another width than the UNet's, or `uncond` is neither.
        RigError: another stack is attached already, to the UNet or to a ControlNet that two pipelines share.
    """
    host = target if not isinstance(target, DiffusionPipeline) else hosts.of(target.unet)
    wanted, width = host.inputs(tokens=1)["encoder_hidden_states"].shape[-1], stack.connector.form.width
    if wanted != width:
        raise FitError(
            f"the UNet looks at tokens of width {wanted}, and the stack tells {width}: made for another model."
        )
    pipe = target if isinstance(target, DiffusionPipeline) else None
    attachment = Attachment(stack, lambda: guided if pipe is None else guides(pipe), uncond)
    nets = [host.module, *(controls_of(pipe) if pipe is not None else []), *also]
    if taken := next((net for net in nets if net in ATTACHED), None):
        raise RigError(
            f"this {type(taken).__name__} has a stack already. Put all modules into one Stack and attach it once."
        )
    handles = [net.register_forward_pre_hook(attachment.hook, with_kwargs=True) for net in nets]
    ATTACHED.update(nets)
    try:
        yield attachment
    finally:
        for handle in handles:
            handle.remove()
        ATTACHED.difference_update(nets)


def guides(pipe: DiffusionPipeline) -> bool:
    """Whether the calls of a run that is under way have a half without words.

    Raises:
        FitError: they have three parts, the pipeline keeps it to itself, says that it does not while its guidance
            scale says that it does, or it is another than the one that runs.
    """
    if not hasattr(type(pipe), "do_classifier_free_guidance"):
        raise FitError(
            f"{type(pipe).__name__} does not say whether it guides. Attach to hosts.of(pipe.unet), and say guided=."
        )
    if any(getattr(pipe, name, None) for name in THREE_WAYS):
        raise FitError(f"{type(pipe).__name__} guides with three predictions; a stack can only tell two halves apart.")
    try:
        says = bool(pipe.do_classifier_free_guidance)
        embedded = pipe.unet.config.get("time_cond_proj_dim") is not None  # the scale is told to the UNet as a number
        scale = getattr(pipe, "guidance_scale", 1.0)
        if not says and scale > 1 and not embedded:
            raise FitError(
                f"{type(pipe).__name__} says that it does not guide, and its guidance scale is {scale:g}. Attach to "
                "hosts.of(pipe.unet), and say guided=."
            )
        return says
    except AttributeError:  # it knows only once it runs
        raise FitError(
            f"this {type(pipe).__name__} is not the one that draws. Attach to the pipeline that does, or to "
            "hosts.of(pipe.unet), and say guided=."
        ) from None


def controls_of(pipe: DiffusionPipeline) -> list[nn.Module]:
    """The ControlNets of a pipeline."""
    control = getattr(pipe, "controlnet", None)
    return list(getattr(control, "nets", [control])) if control is not None else []
