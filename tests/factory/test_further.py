"""A kit learns further: it goes on from its weights, is left as it was, and resumes nothing but itself."""

import copy
import dataclasses
import json

import pytest
import torch

from intarsia import CardError, FitError, Unfinished, factory
from intarsia.graphs.exporting import digest_of

from .conftest import KINDS
from .test_learning import asked, learned, sought
from .test_questions import COLOURS, HIGHEST, lessons, trained


def further(kit, out, **told):
    shown = sought if kit.space.things else asked
    taught = factory.Lessons(None, lambda draw: shown(draw, each=1))
    with torch.enable_grad():
        return factory.learned_further(kit, taught, out, **{"steps": 2, **told})


def digests_of(kit):
    """Of everything in a kit that could be trained in place."""
    return [digest_of(one) for one in ((kit.host.unfolded or kit.host).module, kit.host.module, kit.assembler)]


@pytest.fixture(scope="module", params=KINDS)
def begun(request, tmp_path_factory):
    """A kit that was learned, as it is read with batch norms folded and as it was trained."""
    place = tmp_path_factory.mktemp("begun")
    factory.save_kit(learned(place / "run", kit=KINDS[request.param]()), place / "kit")
    return [factory.load_kit(place / "kit", fold=fold) for fold in (True, False)]


def test_a_kit_learns_further_and_stays_as_it_was(begun, tmp_path):
    kit, whole = begun
    before, lower = digests_of(kit), max(kit.grounds.floor, 0.95 * kit.lowest)
    told = {"steps": 21, "lowest": lower, "card": {"for": "small ones"}}
    with pytest.raises(Unfinished, match=r"further: stopped after 20 of 21 steps\. Call it again"):
        further(kit, tmp_path / "further", **told, stop_after=0)
    more = further(kit, tmp_path / "further", **told)
    assert digests_of(kit) == before
    assert all(one != other for one, other in zip(digests_of(more), before, strict=True))
    assert (more.lowest, kit.card["steps"], more.card["steps"]) == (lower, [2, 2], [2, 2, 21])
    assert more.card["seconds"] > kit.card["seconds"]
    assert more.card["for"] == "small ones"
    assert more.host.outline.shape_hash == kit.host.outline.shape_hash, "for use, as what it began from"
    again = further(whole, tmp_path / "whole", **told)
    assert digests_of(again) == digests_of(more), "whether it was folded or not"
    factory.save_kit(more, tmp_path / "kit")
    assert digests_of(factory.load_kit(tmp_path / "kit")) == digests_of(more)


def test_a_run_is_told_by_the_weights_that_it_began_from(begun, tmp_path):
    kit = begun[1]
    further(kit, tmp_path)
    moved = copy.deepcopy(kit)
    for name, value in moved.host.module.named_buffers():
        if name.endswith("running_mean"):
            value += 1e-6  # as on another machine
    further(moved, tmp_path)
    with torch.no_grad():
        next(moved.assembler.parameters()).add_(1e-6)
    for odd, word in ((moved, "from"), (dataclasses.replace(kit, highest=0.99), "highest")):
        with pytest.raises(CardError, match=f"was begun with other settings: {word} "):
            further(odd, tmp_path)


def test_what_cannot_be_learned_further_is_refused_before_anything_is_written(begun, tmp_path):
    kit = begun[0]
    for told, says in (({"lowest": 0.001}, r"cannot be 0\.1% to 100\.0%"), ({"steps": 0}, "0 steps of a stage")):
        with pytest.raises(FitError, match=says):
            further(kit, tmp_path, **told)
    if kit.space.things:
        with pytest.raises(FitError, match="without a probe"):
            further(kit, tmp_path, probe=torch.nn.Identity())
    assert not list(tmp_path.iterdir())


def test_a_folded_supernet_is_not_trained_in_place(begun, tmp_path):
    kit = begun[0]
    before, stages = digests_of(kit), [lambda: learned(tmp_path, kit=kit)]
    if kit.space.things:
        stages += [
            lambda: factory.Naming(kit.host, kit.lowest),
            lambda: factory.Seeking(kit.host, kit.assembler, (), kit.lowest),
        ]
    else:
        stages += [
            lambda: factory.Concepts(kit.host, kit.lowest),
            lambda: factory.Customising(kit.host, kit.assembler, kit.lowest),
        ]
    for stage in stages:
        with pytest.raises(FitError, match=r"batch norms are folded, so it cannot learn\. Read the kit by load_kit"):
            stage()
    assert digests_of(kit) == before
    assert not list(tmp_path.iterdir())


def test_a_card_tells_no_seconds_where_those_before_are_not_known(tmp_path):
    kit = KINDS["kit"]()
    assert "seconds" not in kit.card
    more = further(kit, tmp_path)
    assert more.card["steps"] == [2]
    assert "seconds" not in more.card


def test_questions_learn_further_with_a_probe_that_is_made_anew(tmp_path):
    kit = trained(tmp_path / "run", 2, 2)
    probe = factory.Probe(kit.host.module, kit.host.size, "layer4", len(COLOURS), 1)
    before = digest_of(probe)

    def seen(draw):
        pictures, answers, codes = lessons().tasks(draw)
        return pictures, answers, codes, answers[:, None, None]

    with torch.enable_grad():
        more = factory.learned_further(
            kit, factory.Lessons(None, seen), tmp_path / "further", steps=2, probe=probe, lowest=0.75
        )
    assert (more.lowest, more.highest) == (0.75, HIGHEST)
    assert digest_of(probe) != before
    rows = (tmp_path / "further/log.jsonl").read_text().splitlines()
    assert "accuracy_largest" in json.loads(rows[-1])
