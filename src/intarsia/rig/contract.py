"""What rig asks of a model: the Host protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ..plan import Outline, Site
from .lineage import Lineage


@dataclass(frozen=True)
class Gate:
    """Where a site's units can be shut off in the whole model: what they hand on is multiplied by 0 or 1.

    Attributes:
        module: The module that takes the units in, once they have been through their activation; or, where `after`,
            the one that hands them on.
        axis: Of that module's input or output: 1 for channels of pictures, -1 for those of tokens.
        width: Channels of one unit; they lie side by side. Where there is one unit of all channels, 1 will do.
    """

    module: str
    axis: int
    width: int
    after: bool = False


class Outlined(Protocol):
    """A model whose outline `outline_of` can read."""

    name: str
    module: nn.Module

    def sites(self) -> Sequence[Site]:
        """Its sites without costs, groups before their parts; units know whom they read."""
        ...

    @property
    def root(self) -> str:
        """The unit whose output is the host's."""
        ...

    def inputs(self, **sizes: int | None) -> Mapping[str, Any]:
        """Inputs of the right shapes, on the meta device, to read costs with."""
        ...

    def shortcut_module(self, path: str) -> str | None:
        """The module on a site's identity path, if there is one, to read its cost."""
        ...


@runtime_checkable
class UnitHost(Protocol):
    """A model of which plans of one row keep some units: a supernet.

    Attributes:
        name: The kind of host, such as `timm/resnet18`.
        module: The model itself.
    """

    name: str
    module: nn.Module

    @property
    def outline(self) -> Outline:
        """Its sites and their costs, with what depends on the units that are kept."""
        ...

    @property
    def gates(self) -> Mapping[str, tuple[Gate, ...]]:
        """Where the units of each site can be shut off; sites that are answers have no gate and are not listed."""
        ...

    def narrowed(self, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, Lineage]:
        """A smaller model of the same classes with these units alone, weights not set; and where they come from.

        A site that can be skipped and of which nothing is kept is left out: its input passes.
        """
        ...


class Host(Protocol):
    """A model that plans can be made for, with everything that only its family knows.

    Attributes:
        name: The kind of host, such as `diffusers/unet-2d-condition`.
        module: The model itself.
    """

    name: str
    module: nn.Module

    @property
    def outline(self) -> Outline:
        """Its sites and their costs at the size that the model was made for."""
        ...

    def sites(self) -> Sequence[Site]:
        """Its sites without costs, groups before their parts; units know whom they read."""
        ...

    @property
    def root(self) -> str:
        """The unit whose output is the host's."""
        ...

    def inputs(self, **sizes: int | None) -> Mapping[str, Any]:
        """Inputs of the right shapes, on the meta device, to read costs with."""
        ...

    def time_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
        """The time step of a call, which falls during a run."""
        ...

    def step_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """The time step of a call, if it is an element of a schedule: of one that serves this run alone."""
        ...

    def words_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """What a call is told, if anything: two predictions of one step are told by it."""
        ...

    def sample_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """The tensor whose shape, type and device a remembered feature goes with."""
        ...

    def hands_on(self, path: str) -> tuple[str, ...]:
        """The units whose answers a block hands on, its own answer last."""
        ...

    def packed(self, path: str, answers: Sequence[Tensor]) -> Any:
        """The answers of these units in the form in which the block returns them."""
        ...

    def unpacked(self, path: str, output: Any) -> Sequence[Tensor]:
        """What `packed` packed."""
        ...

    def like_answer(self, answer: Tensor, kwargs: Mapping[str, Any]) -> Any:
        """The host's answer in the form in which its callers expect it."""
        ...

    def shortcut_module(self, path: str) -> str | None:
        """The module on a site's identity path, if there is one, to read its cost."""
        ...

    def shortcut(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """What a site would hand on if it added nothing to its input. Only asked where `shortcut_macs` is given."""
        ...

    def state(self) -> str:
        """All that shapes an answer besides weights and inputs: the config, adapters' scales, what was switched on."""
        ...

    def edits_in_place(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether this call may edit the outputs of sites in place, so that remembered ones need guarding."""
        ...

    def before_words(self) -> tuple[str, ...]:
        """The modules that run before words are first read, the cheap ones left out."""
        ...

    def without_words(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Tensor]:
        """The batches in a call that these modules depend on."""
        ...

    def misfit(self, other: "Host") -> str | None:
        """Why another model cannot answer a call in this one's place, or None."""
        ...

    def misheard(self, other: "Host", kwargs: Mapping[str, Any]) -> str | None:
        """What this call brings that another model, which fits otherwise, would take in wrongly, or None."""
        ...

    def told(self, other: "Host", kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What another model that answers this call is told of it: what it reads."""
        ...

    def without(self, cuts: Sequence[str]) -> tuple[nn.Module, Mapping[str, str]]:
        """A smaller model with these `cut` sites left out, and for each of its tensors the name here.

        Raises:
            FitError: what is left is not a model of this family.
        """
        ...
