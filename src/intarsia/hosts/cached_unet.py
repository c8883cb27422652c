"""A UNet that caches in diffusers' own way (`enable_cache`, `cache_context`, ...), with a plan as its config.

diffusers gives these methods to transformers only, and its caches know no UNet. `CachedUNet.of(pipe.unet)` shares
every module and weight of the model that it is made of. Where a `with` block will do, `rig.applied` is simpler.
"""

import copy
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
        for name in self.live.contexts:
            with self.live.context(name):
                self.live.restart()
        return module


class CachedUNet(UNet2DConditionModel, CacheMixin):
    """A `UNet2DConditionModel` whose cache is a plan."""

    _cache_config: Any = None

    @classmethod
    def of(cls, unet: UNet2DConditionModel) -> "CachedUNet":
        """The same model, sharing modules and weights, with a cache to enable."""
        twin = copy.copy(unet)
        twin.__class__ = cls
        return twin

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
