"""Harsher than users: one thread, no network, warnings are errors (see pyproject.toml)."""

import socket

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
torch.set_grad_enabled(False)
settings.register_profile("shared machine", deadline=None)  # neighbours decide how long an example takes
settings.load_profile("shared machine")

from intarsia.hosts import pico  # noqa: E402  (after the threads are set)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Nothing that was measured or converted before is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTARSIA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def pico_host():
    """Shared by tests that leave it as they found it, which is itself a law."""
    return pico.host()


@pytest.fixture(scope="session")
def pico_outline(pico_host):
    from intarsia import rig

    return rig.outline_of(pico_host, batch=2, tokens=pico.TOKENS)
