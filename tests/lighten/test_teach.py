"""Stage by stage inside the teacher, then the whole; a killed run ends where the whole one does."""

import copy

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from intarsia import CardError, FitError, Plan, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.hosts.lessons import Lessons, lessons_of, told_of
from intarsia.lighten.distill import Distilling, block_pairs
from intarsia.lighten.experts import with_experts
from intarsia.lighten.incubation import hybrid, level_blocks, levels_that_differ
from intarsia.lighten.record import blocks_of, read_record
from intarsia.lighten.teach import teach
from intarsia.train import Schedule
from intarsia.train.rows import read_rows
from tests.laws.conftest import inputs_of
from tests.lighten.test_distill import batch


def cut(teacher, sites="pairs.*.1"):
    return rig.bake(Plan(1, (Rule("0", sites, Skip()),)), hosts.of(teacher))


def answer(unet):
    return unet(**inputs_of(pico.host(), 500)).sample


def test_a_hybrid_of_a_model_and_its_twin_is_the_model():
    teacher = pico.unet()
    for level in range(4):
        assert torch.equal(answer(hybrid(copy.deepcopy(teacher), teacher, level)), answer(teacher))
    twin = copy.deepcopy(teacher)
    assert levels_that_differ(twin, teacher) == []
    twin.up_blocks[1].resnets[0].conv1.weight.mul_(2)  # as if filled from another checkpoint
    assert levels_that_differ(twin, teacher) == [2]


def test_a_hybrid_is_the_teacher_with_one_resolution_cut():
    teacher = pico.unet()
    student, _ = cut(teacher)
    assert levels_that_differ(student, teacher) == [0, 1, 2, 3]
    for level in range(4):
        alone, _ = cut(teacher, f"pairs.{level}.1")
        assert torch.equal(answer(hybrid(student, teacher, level)), answer(alone))


@pytest.mark.parametrize("level", range(4))
def test_in_a_stage_gradients_reach_its_resolution_alone(level):
    teacher = pico.unet()
    student, lineage = cut(teacher)
    student, _ = with_experts(student, teacher, lineage, routing="time")
    raised = hybrid(student.train(), teacher, level)
    objective = Distilling(raised, teacher, DDIMScheduler(), {path: path for path in level_blocks(student, level)})
    with torch.enable_grad():
        objective(batch())["loss"].backward()
    moved = {name for name, value in student.named_parameters() if value.grad is not None}
    inside = tuple(f"{path}." for path in level_blocks(student, level))
    assert moved
    assert all(name.startswith(inside) for name in moved)
    assert moved >= {name for name, value in student.named_parameters() if name.startswith(inside)}
    assert all(value.grad is None for value in teacher.parameters())


STAGED, STEPS = "pairs.0.1 | pairs.2.1", 12


def taught(out, stop=None):
    """A student of two stages, killed at a call for lessons."""
    teacher = pico.unet()
    student, lineage = cut(teacher, STAGED)
    calls = []

    def batch_at(_draw):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return batch(1)

    done = teach(
        student, teacher, DDIMScheduler(), batch_at, blocks_of(student, lineage), Schedule(STEPS, 1e-3, warmup=1),
        out, incubate=0.5, save_every=2,
    )  # fmt: skip
    return student, done


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return *taught(out), out


def test_a_run_of_several_stages_teaches(whole):
    student, done, out = whole
    assert done.finished
    assert done.last["step"] == 6
    assert sorted(path.name for path in out.iterdir()) == ["level-0", "level-2", "whole"]
    start, _ = cut(pico.unet(), STAGED)
    assert not torch.equal(answer(student), answer(start))


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_of_several_stages_ends_where_the_whole_one_does(whole, seed, tmp_path):
    kills = np.sort(1 + np.random.default_rng(seed).choice(STEPS, 3, replace=False))
    for stop in np.diff(kills, prepend=0):
        with pytest.raises(KeyboardInterrupt):
            taught(tmp_path, stop)
    again, _ = taught(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(whole[0].parameters(), again.parameters(), strict=True))


def test_another_number_of_levels_has_no_stages():
    teacher = pico.unet()
    tiny, lineage = cut(teacher, "mid_block | stages.3")
    pairs = blocks_of(tiny, lineage)
    assert pairs["up_blocks.0"] == "up_blocks.1"
    assert pairs["down_blocks.2.attentions.1"] == "down_blocks.2.attentions.1"
    objective = Distilling(tiny, teacher, DDIMScheduler(), pairs)
    assert objective(batch())["feature"] > 0
    with pytest.raises(FitError, match="another number of levels"):
        levels_that_differ(tiny, teacher)
    with pytest.raises(FitError, match="name the pairs"):
        block_pairs(tiny, teacher)


def test_whatever_is_left_out_all_that_stays_learns_and_every_block_is_known():
    """A first attention that goes renumbers the rest; what fed a piece that is gone must not wait for a gradient."""
    teacher = pico.unet()
    inner = "down_blocks.0.attentions.0.transformer_blocks.0"
    student, lineage = cut(teacher, f"mid_block.attentions.0 | up_blocks.1.attentions.0 | pairs.2.1 | {inner}.*")
    pairs = blocks_of(student, lineage)
    assert all(path == origin for path, origin in pairs.items())
    with torch.enable_grad():
        Distilling(student.train(), teacher, DDIMScheduler(), pairs)(batch())["loss"].backward()
    assert [name for name, value in student.named_parameters() if value.grad is None] == []


def test_lessons_are_kept_as_they_were(tmp_path):
    words = {"encoder_hidden_states": torch.randn(6, 5, 16), "added_cond_kwargs.text_embeds": torch.randn(6, 8)}
    blank = {name: torch.zeros(1, *value.shape[1:]) for name, value in words.items()}
    made = Lessons(torch.randn(6, 4, 8, 8), words, blank)
    made.save(tmp_path / "lessons.safetensors")
    again = Lessons.load(tmp_path / "lessons.safetensors")
    assert torch.equal(again.latents, made.latents.half())
    assert again.words.keys() == words.keys()
    np.random.seed(0)
    latents, told = again.batch(4, wordless=0.5)
    assert latents.shape == (4, 4, 8, 8)
    assert told["added_cond_kwargs"]["text_embeds"].shape == (4, 8)
    silent = (told["encoder_hidden_states"] == 0).flatten(1).all(1)
    assert torch.equal(silent, (told["added_cond_kwargs"]["text_embeds"] == 0).all(1))
    _, told = again.batch(6, wordless=1.0)
    assert not told["encoder_hidden_states"].any()


def test_words_are_what_the_pipeline_says(tmp_path):
    from intarsia.hosts.pipelines import load_pipeline
    from intarsia.shipped import model_folder

    pipe = load_pipeline(model_folder("emoji"), device="cpu")
    told = told_of(pipe, ["a fox", "a house"])
    assert list(told) == ["encoder_hidden_states"]
    assert torch.equal(told["encoder_hidden_states"], pipe.encode_prompt(["a fox", "a house"], "cpu", 1, False)[0])
    made = lessons_of(pipe, ["a fox", "a house", "an owl"], lambda numbers: torch.zeros(len(numbers), 4, 2, 2), batch=2)
    assert len(made) == 3
    torch.testing.assert_close(made.words["encoder_hidden_states"][:2], told["encoder_hidden_states"])


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(CardError, match=r"no metadata\.jsonl"):
        read_rows(tmp_path, "file_name", "text")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}\n')
    with pytest.raises(CardError, match=r"metadata\.jsonl:1: there is no 'a\.png'"):
        read_rows(tmp_path, "file_name", "text")
    assert read_record(tmp_path) is None
    (tmp_path / "assembly.json").write_text('{"intarsia": "plan/1"}')
    with pytest.raises(CardError, match="not a record of an assembly"):
        read_record(tmp_path)
