"""All levers in one plan file: a student with experts, its teacher for some calls, features inherited in between."""

import torch

from intarsia import hosts, load_plan, price, resolve, rig, save_plan
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.lighten.experts import with_experts
from intarsia.lighten.switch import last, switch
from intarsia.shipped import plan_file
from tests.laws.conftest import ROWS, inputs_of, run_through


def student_of(teacher):
    smaller, lineage = rig.bake(load_plan(plan_file("bk-base")), teacher)
    student, _ = with_experts(smaller, teacher.module, lineage, routing="time")
    torch.manual_seed(0)
    for conv in student.expert_convs().values():
        conv.scores.normal_()
        conv.router.normal_()
    return hosts.of(student.eval(), tokens=pico.TOKENS)


def state(module):
    """Whatever applying a plan touches: forwards worn, hooks."""
    return [
        (name, sorted(part.__dict__.keys() & {"forward"}), len(part._forward_hooks), len(part._forward_pre_hooks))
        for name, part in module.named_modules()
    ]


def test_all_levers_in_one_plan_file(tmp_path):
    teacher = hosts.of(pico.unet(), tokens=pico.TOKENS)
    student = student_of(teacher)
    others = {"teacher": teacher}
    reuse, ending = inherit(ROWS, every=2, sites="up_blocks.2"), switch(ROWS, {"teacher": last(ROWS, 2)})
    save_plan(reuse | ending, tmp_path / "all.yaml")
    plan = load_plan(tmp_path / "all.yaml")
    assert plan == reuse | ending
    whole, touched = run_through(student), [state(host.module) for host in (student, teacher)]

    bill = price(resolve(plan, student.outline, others), {"teacher": teacher.outline})
    with rig.applied(plan, student, others=others) as live:
        run_through(student)  # kernels are merged as they are met
        metered = []
        for row in range(ROWS):
            with rig.count_macs() as macs:
                found = student.module(**inputs_of(student, 1000 - 100 * row, seed=1000 - 100 * row, batch=1)).sample
            metered.append(macs.total)
        assert tuple(metered) == bill.macs
        assert [call.answered_by for call in live.trace] == [None] * (ROWS - 2) + ["teacher"] * 2
        assert [call.recalled for call in live.trace] == [0, 1, 0, 1, 0, 0, 0]
        last_time = 1000 - 100 * (ROWS - 1)
        alone = teacher.module(**inputs_of(teacher, last_time, seed=last_time, batch=1)).sample
        assert torch.equal(found, alone)

    assert [state(host.module) for host in (student, teacher)] == touched
    assert all(torch.equal(one, two) for one, two in zip(run_through(student), whole, strict=True))
