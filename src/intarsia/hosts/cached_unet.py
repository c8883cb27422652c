"""A UNet that caches in diffusers' own way (`enable_cache`, `cache_context`, ...), with a plan as its config.

diffusers gives these methods to transformers only, and its caches know no UNet. `with_cache(pipe.unet)` teaches them
to a model that is there. Where a `with` block will do, `rig.applied` is simpler.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.models.cache_utils import CacheMixin
from torch import nn

from ..plan import Plan
from ..rig import applied
from .diffusers_unet import UNetHost

PLAN_HOOK = "intarsia_plan"


class PlanHook(ModelHook):
    """A plan at work for as long as the hook is registered."""

    _is_stateful = True

    def __init__(self, plan: Plan, lanes: int) -> None:
        super().__init__()
        self.plan, self.lanes = plan, lanes
        self.leaving = ExitStack()

    def initialize_hook(self, module: nn.Module) -> nn.Module:
        self.live = self.leaving.enter_context(applied(self.plan, UNetHost(module), lanes=self.lanes))
        self.live.runs_are_told = True
        return module

    def deinitalize_hook(self, module: nn.Module) -> nn.Module:  # diffusers spells it so
        self.leaving.close()
        if getattr(module.__dict__.get("forward"), "__func__", None) is type(module).forward:
            del module.__dict__["forward"]  # the registry leaves the module's own method on the instance
        return module

    def reset_state(self, module: nn.Module) -> nn.Module:
        self.live.restart()
        return module


class PlanCache(CacheMixin):
    """What a UNet's class is mixed with, so that its cache is a plan."""

    _cache_config: Any = None

    def enable_cache(self, config: Any, *, lanes: int = 1) -> None:
        """Run under a plan from here on.

        Args:
            config: A plan; or a config of diffusers' own, which is passed on.
            lanes: As for `rig.applied`.

        Raises:
            ValueError: a cache is enabled already.
            PlanError, FitError: the plan does not fit; nothing is enabled.
        """
        if not isinstance(config, Plan) or self.is_cache_enabled:
            super().enable_cache(config)
            return
        HookRegistry.check_if_exists_or_initialize(self).register_hook(PlanHook(config, lanes), PLAN_HOOK)
        self._cache_config = config

    def disable_cache(self) -> None:
        """Be the model as it was."""
        if not isinstance(self._cache_config, Plan):
            super().disable_cache()
            return
        self._diffusers_hook.remove_hook(PLAN_HOOK, recurse=False)
        self._cache_config = None

    @contextmanager
    def cache_context(self, name: str, **kwargs: Any) -> Iterator[None]:
        """Calls inside the block are a walk of their own through the plan."""
        if not isinstance(self._cache_config, Plan):
            with super().cache_context(name, **kwargs):
                yield
            return
        with self._diffusers_hook.get_hook(PLAN_HOOK).live.context(name):
            yield


class CachedUNet(PlanCache, UNet2DConditionModel):
    """A `UNet2DConditionModel` whose cache is a plan."""


def with_cache(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same object, which has learnt to cache. Its class keeps its name, so that pipelines save it as before."""
    if not isinstance(unet, PlanCache):
        kind = type(unet)
        unet.__class__ = type(kind.__name__, (PlanCache, kind), {"__module__": kind.__module__})
    return unet
