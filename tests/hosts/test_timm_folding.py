"""Batch norms become part of the convolutions before them wherever that changes no answer, and nowhere else."""

import copy
import dataclasses

import pytest
import torch
from timm.layers import StdConv2d
from timm.models.resnet import ResNet
from torch import nn

from intarsia import FitError, factory
from intarsia.hosts import timm_supernet
from intarsia.hosts.timm_folding import NORMS, fold, pairs_of
from intarsia.hosts.timm_supernet import TimmSupernet
from tests.factory.conftest import kit_of

from .test_timm_supernet import FAMILIES, near, stirred

WITHOUT = {"test_convnext", "test_convnext2", "test_vit", "gated_vit"}  # any batch norms
SIZE = (3, 32, 32)


def norms_of(module):
    return [one for one in module.modules() if type(one) in NORMS]


def paired(module):
    return pairs_of(module, {"x": torch.empty(1, *SIZE, device="meta")})


@pytest.mark.parametrize("architecture", FAMILIES)
def test_all_norms_are_folded_and_the_answers_are_as_before(architecture):
    host, pictures = stirred(architecture), torch.randn(3, *SIZE)
    before = {name: value.clone() for name, value in host.module.state_dict().items()}
    small = timm_supernet.folded(host)
    assert near(host, small.module(pictures), host.module(pictures))
    assert bool(norms_of(host.module)) == (architecture not in WITHOUT) == (small is not host)
    assert not norms_of(small.module)
    assert (small.unfolded is host) == (small is not host)
    assert small.outline.macs == host.outline.macs
    assert [site.path for site in small.outline.sites] == [site.path for site in host.outline.sites]
    assert all(torch.equal(value, before[name]) for name, value in host.module.state_dict().items())
    assert timm_supernet.folded(small) is small


class Odd(nn.Module):
    """A convolution and a norm after it, in a way that cannot be folded."""

    def __init__(self, convolution=nn.Conv2d, **norm):
        super().__init__()
        self.first = convolution(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, **norm)

    def forward(self, x):
        return self.norm(self.first(x))


class Elsewhere(Odd):
    """Something lies between the two."""

    def forward(self, x):
        return self.norm(self.first(x).relu())


class InPlace(Odd):
    """Something lies between the two, and hands on the very tensor that it was given."""

    def forward(self, x):
        return self.norm(self.first(x).relu_())


class Twice(Odd):
    """The norm also follows another."""

    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.norm(self.first(x)) + self.norm(self.second(x))


class Two(Odd):
    """Two norms follow it."""

    def __init__(self):
        super().__init__()
        self.other = nn.BatchNorm2d(4)

    def forward(self, x):
        seen = self.first(x)
        return self.norm(seen) + self.other(seen)


class Among(Two):
    """Two norms follow it, one of which also follows another."""

    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return super().forward(x) + self.other(self.second(x))


class Before(Odd):
    """The norm is first."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.first(self.norm(x))


def test_a_convolution_that_a_norm_follows_is_found_and_folded():
    model = Odd().eval()
    assert paired(model) == (("first", "norm"),)
    model.norm.running_mean.uniform_()
    pictures = torch.randn(2, *SIZE)
    wanted = model(pictures)
    fold(model, (*paired(model), ("nowhere", "norm")))
    assert not norms_of(model)
    assert torch.allclose(model(pictures), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [Elsewhere(), InPlace(), Twice(), Two(), Among(), Before(), Odd(StdConv2d), Odd(track_running_stats=False)],
    ids=lambda model: type(model).__name__,
)
def test_what_cannot_be_folded_stays(model):
    assert paired(model) == ()


class ReadTwice(ResNet):
    """One convolution's output is read by others than its norm too."""

    def forward(self, x):
        heard = []
        handle = self.layer1[0].conv1.register_forward_hook(lambda _module, _args, output: heard.append(output))
        answers = super().forward(x)
        handle.remove()
        return answers + heard[0].mean()


def test_a_kit_stays_as_it_is_where_folding_would_change_its_answers():
    kit = kit_of()
    assert factory.folded(kit) is not kit
    module = copy.deepcopy(kit.host.module)
    for norm in norms_of(module):
        norm.bias.fill_(0.5)
    module.__class__ = ReadTwice
    odd = dataclasses.replace(kit, host=TimmSupernet(module, SIZE))
    assert timm_supernet.folded(odd.host) is not odd.host, "nobody sees it"
    assert factory.folded(odd) is odd


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_folded_kit_is_saved_as_it_was_trained(architecture, tmp_path):
    kit = kit_of(architecture, **FAMILIES[architecture])
    small = factory.folded(kit)
    factory.save_kit(small, tmp_path / "kit")
    again, whole = (factory.load_kit(tmp_path / "kit", fold=one) for one in (True, False))
    assert again.host.outline.shape_hash == small.host.outline.shape_hash
    assert whole.host.unfolded is None
    for one, other in ((again, small), (whole, kit)):
        theirs = other.host.module.state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in one.host.module.state_dict().items())
        task = kit.space.read("red, blue")
        order = factory.Order(task, factory.Budget(macs=1e12))
        assert len(factory.fulfil(order, one).model(torch.randn(2, *SIZE))) == 2


def test_what_was_changed_after_it_was_folded_is_not_lost_in_silence(tmp_path):
    small = factory.folded(kit_of())
    next(small.host.module.parameters()).mul_(2)
    with pytest.raises(FitError, match=r"was changed since it was folded.*fold=False"):
        factory.save_kit(small, tmp_path / "kit")
    assert not list(tmp_path.iterdir())


def test_refreshed_models_are_where_and_what_the_kit_is():
    small = factory.folded(kit_of())
    small.host.module.double()
    order = factory.Order(small.space.read("red, blue"), factory.Budget(macs=1e12))
    done = factory.fulfil(order, small, pictures=torch.randn(8, *SIZE, dtype=torch.double))
    assert {value.dtype for value in done.model.parameters()} == {torch.double}


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet"])
def test_refreshed_statistics_are_folded_too(architecture):
    kit = kit_of(architecture, **FAMILIES[architecture])
    pictures, shown = 3 + 2 * torch.randn(64, *SIZE), torch.randn(4, *SIZE)
    order = factory.Order(kit.space.read("red, blue"), factory.Budget(macs=0.9 * kit.host.outline.macs))
    wanted, found = (factory.fulfil(order, one, pictures=pictures) for one in (kit, factory.folded(kit)))
    stale = factory.fulfil(order, kit).model(shown)
    assert not norms_of(found.model)
    assert found.model.state_dict().keys() == factory.fulfil(order, factory.folded(kit)).model.state_dict().keys()
    assert near(kit.host, found.model(shown), wanted.model(shown))
    assert not near(kit.host, found.model(shown), stale)
