"""The laws of distillation."""

import copy

import pytest
import torch
from diffusers import DDIMScheduler

from intarsia import Plan, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten.distill import Distilling, Weights, block_pairs
from intarsia.lighten.experts import with_experts
from intarsia.rig.answering import first_tensor
from intarsia.train import Schedule, fit
from intarsia.train.groups import optimizer_groups
from intarsia.train.noising import noised


def batch(count=4):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 4, 16, 16, generator=generator)
    return latents, torch.randn(count, pico.TOKENS, pico.WIDTH, generator=generator)


def student_of(teacher, cuts="pairs.*.1"):
    return rig.bake(Plan(1, (Rule("0", cuts, Skip()),)), hosts.of(teacher))[0].requires_grad_(True)


def losses(objective, seed=0):
    torch.manual_seed(seed)
    return objective(batch())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_it(prediction):
    teacher = pico.unet()
    noise = DDIMScheduler(prediction_type=prediction, rescale_betas_zero_snr=prediction == "v_prediction")
    found = losses(Distilling(copy.deepcopy(teacher), teacher, noise, block_pairs(teacher, teacher)))
    assert found["output"] == 0
    assert found["feature"] == 0
    torch.manual_seed(0)
    noisy, times, wanted = noised(noise, batch()[0])
    plain = (teacher(noisy, times, batch()[1]).sample - wanted).square().mean()
    assert torch.equal(found["task"], plain)
    assert torch.equal(found["loss"], plain)


def noised_again():
    """What the losses saw: the same draws again."""
    torch.manual_seed(0)
    return noised(DDIMScheduler(), batch()[0])


def features(model, noisy, times, paths):
    """The answers of these blocks, in order."""
    found = {}
    handles = [
        model.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, path=path: found.update({path: first_tensor(output)})
        )
        for path in paths
    ]
    model(noisy, times, batch()[1])
    for handle in handles:
        handle.remove()
    return [found[path] for path in paths]


def test_features_are_counted_by_their_own_scale():
    teacher = pico.unet()
    student = student_of(teacher)
    pairs = block_pairs(student, teacher)
    plain = losses(Distilling(student, teacher, DDIMScheduler(), pairs, Weights(normalised=False)))["feature"]
    even = losses(Distilling(student, teacher, DDIMScheduler(), pairs))["feature"]
    noisy, times, _ = noised_again()
    ours, theirs = (features(model, noisy, times, pairs) for model in (student, teacher))
    wished = sum((a - b).square().mean() / b.square().mean() for a, b in zip(ours, theirs, strict=True))
    torch.testing.assert_close(even, wished)
    torch.testing.assert_close(plain, sum((a - b).square().mean() for a, b in zip(ours, theirs, strict=True)))


def test_words_may_depend_on_time_steps_which_dwell_where_they_should():
    teacher = pico.unet()
    asked = []

    def tell(words, times):
        asked.append(times)
        return {"encoder_hidden_states": torch.where((times >= 500)[:, None, None], *words)}

    latents, words = batch(64)
    objective = Distilling(
        student_of(teacher), teacher, DDIMScheduler(), block_pairs(teacher, teacher), late=0.3, tell=tell
    )
    torch.manual_seed(0)
    found = objective((latents, (words, -words)))
    (times,) = asked
    assert times.float().mean() > 650  # evenly spread, it would be 500
    torch.manual_seed(0)
    noisy, times, wanted = noised(DDIMScheduler(), latents, late=0.3)
    said = torch.where((times >= 500)[:, None, None], words, -words)
    assert torch.equal(found["task"], (objective.student(noisy, times, said).sample - wanted).square().mean())


def test_what_mixes_experts_learns_ten_times_as_fast_and_does_not_decay():
    teacher = pico.unet()
    smaller, lineage = rig.bake(Plan(1, (Rule("0", "pairs.*.1", Skip()),)), hosts.of(teacher))
    student, _ = with_experts(smaller, teacher, lineage, routing="time")
    objective = Distilling(student.requires_grad_(True), teacher, DDIMScheduler(), {})
    plain, mixing = optimizer_groups(objective, dict(objective.named_parameters()), weight_decay=0.01)
    names = {id(value): name for name, value in objective.named_parameters()}
    assert {names[id(value)].rpartition(".")[2] for value in mixing["params"]} == {"scores", "router"}
    assert not {names[id(value)].rpartition(".")[2] for value in plain["params"]} & {"scores", "router"}
    assert (mixing["factor"], mixing["weight_decay"]) == (10.0, 0.0)
    assert len(plain["params"]) + len(mixing["params"]) == len(names)
    assert len(optimizer_groups(Distilling(teacher, teacher, DDIMScheduler(), {}), {}, 0.01)) == 0


def test_checkpointing_changes_nothing_but_memory():
    teacher = pico.unet()
    gradients = []
    for checkpointing in (False, True):
        student = student_of(teacher).train()
        if checkpointing:
            student.enable_gradient_checkpointing()
        objective = Distilling(student, teacher, DDIMScheduler(), block_pairs(student, teacher))
        with torch.enable_grad():
            found = losses(objective)["loss"]
            found.backward()
        gradients.append((found.detach(), [value.grad for value in student.parameters()]))
    assert torch.equal(gradients[0][0], gradients[1][0])
    for one, other in zip(gradients[0][1], gradients[1][1], strict=True):
        torch.testing.assert_close(one, other)


def test_a_student_learns_and_a_killed_run_ends_where_the_whole_one_does(tmp_path):
    teacher = pico.unet()

    def run(out, stop=None):
        student = student_of(teacher).train()
        objective = Distilling(student, teacher, DDIMScheduler(), block_pairs(student, teacher))

        def batch_at(_draw):
            if stop is not None and _draw == stop:
                raise KeyboardInterrupt
            return batch()

        with torch.enable_grad():
            fit(objective, batch_at, Schedule(20, 3e-4, warmup=1), out, save_every=4, log_every=1)
        return student

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", stop=11)
    again = run(tmp_path / "killed")
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), again.parameters(), strict=True))
    import json

    rows = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert rows[-1]["feature"] < 0.8 * rows[0]["feature"]
    assert rows[-1]["output"] < rows[0]["output"]
