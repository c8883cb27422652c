"""One graph per kind of row: the same pictures as the live plan, on every backend that is listed."""

import copy
import functools
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel

from intarsia import hosts, rig
from intarsia.errors import OutputExists, RigError
from intarsia.graphs import BACKENDS, Kinds, applied_as_graphs, write_graphs
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.plan import Extrapolate, Fitted, Plan, Reuse, Rule, Skip, Use, resolve
from tests.laws.conftest import ROWS, inputs_of, run_through
from tests.laws.drawings import Drawing, ip_adapter

pytestmark = pytest.mark.filterwarnings("ignore")
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
SMALL = {
    "block_out_channels": (16, 16), "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip
PLANS = {
    "whole": Plan(ROWS),
    "branch 0, held": inherit(ROWS, every=3, sites="up_blocks.1.layers.0"),
    "line, fitted": inherit(ROWS, every=2, sites="up_blocks.0", forecast=Fitted(((1.5, -0.5), (1.25, -0.25)))),
    "residual and subunit": inherit(ROWS, every=3, sites="up_blocks.1.layers.1", carry="residual")
    | inherit(ROWS, every=2, sites=ATTENTION, forecast=Extrapolate(1, 0.5)),
    "skip": Plan(ROWS, (Rule("2:", "mid_block.attentions.0", Skip()),)),
}


@pytest.fixture(scope="module")
def host():
    made = pico.host(**SMALL)
    made.outline = rig.outline_of(made, batch=2, tokens=pico.TOKENS)
    return made


def apart(one, other):
    distance = torch.stack([(mine - theirs).abs().max() for mine, theirs in zip(one, other, strict=True)]).max()
    assert distance.isfinite()
    return float(distance)


@pytest.mark.parametrize("name", PLANS)
def test_graphs_answer_as_the_live_plan_does(host, name):
    plan = PLANS[name]
    with rig.applied(plan, host):
        live = run_through(host)
    with applied_as_graphs(plan, host, "torch") as running:
        assert apart(run_through(host), live) == 0
        assert apart(run_through(host), live) == 0  # and again
        kinds = Kinds(running.table)
        assert len(running.graphs.made) == len(set(kinds.of_row)) <= 4
    assert apart(run_through(host), run_through(pico.host(**SMALL))) == 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("compile", "executorch") else ())
        for name in BACKENDS
        if name != "torch"
    ],
)
def test_every_backend_agrees_and_converts_a_kind_once(host, name, tmp_path):
    pytest.importorskip(BACKENDS[name].package)
    plan = PLANS["branch 0, held"]
    with rig.applied(plan, host):
        live = run_through(host)
    for how in ("converted", "found"):
        with applied_as_graphs(plan, host, name, keep=tmp_path) as running:
            assert apart(run_through(host), live) < 1e-4
            assert [made for made, _ in running.graphs.made] == [how if BACKENDS[name].convert else "exported"] * 2


def test_kinds_do_not_multiply_with_distances(host):
    plan = inherit(30, keys=[0, 1, 3, 7, 15], sites="up_blocks.0", forecast=Extrapolate(2))
    assert len(set(Kinds(resolve(plan, host.outline)).of_row)) == 2


def test_another_size_in_mid_run_is_computed_whole(host):
    with applied_as_graphs(PLANS["branch 0, held"], host, "torch") as running:
        for time, batch in ((900, 2), (800, 2), (700, 4), (600, 4)):
            host.module(**inputs_of(host, time, batch=batch))
        assert [call.refreshed for call in running.trace] == [False, False, True, False]


def control(unet):
    """What a ControlNet adds to the skip connections and in the middle."""
    skips = [torch.randn(2, width, side, side) for width, side in control_sizes(unet)]
    return {"down_block_additional_residuals": skips, "mid_block_additional_residual": torch.randn(2, 16, 8, 8)}


def adapter(unet):
    """What a T2I-Adapter adds to each down block."""
    sides = zip(unet.config.block_out_channels, (16, 8), strict=True)
    return {"down_intrablock_additional_residuals": [torch.randn(2, width, side, side) for width, side in sides]}


def pictures(unet):
    """What an IP-Adapter looks at beside the words."""
    ip_adapter(Drawing(SimpleNamespace(unet=unet), {}), width=12)
    return {"added_cond_kwargs": {"image_embeds": [torch.randn(2, 1, 12)]}}


@pytest.mark.parametrize("companion", [control, adapter, pictures])
def test_companions_of_a_call_are_inputs_too(companion):
    """What they add comes in as tensors of the graph: others at every call, and no graph more for it."""
    host, plan = pico.host(**SMALL), PLANS["branch 0, held"]
    calls = [inputs_of(host, time) for time in (900, 800, 700)]
    calls = [call | companion(host.module) for call in calls]

    def answers():
        return [host.module(**copy.deepcopy(call)).sample for call in calls]  # the UNet empties an adapter's list

    with rig.applied(plan, host):
        live = answers()
    with applied_as_graphs(plan, host, "torch") as running:
        assert apart(answers(), live) == 0
        assert len(running.graphs.made) == 2
    assert apart(answers(), live) > 0


def test_two_threads_share_graphs(host):
    """Each thread walks the plan by itself, with other samples, through the same two graphs."""
    plan = PLANS["branch 0, held"]

    def walk(seed):
        with torch.no_grad():
            return [host.module(**inputs_of(host, time, seed=seed)).sample for time in (900, 800, 700, 600)]

    with rig.applied(plan, host):
        alone = [walk(seed) for seed in (1, 2)]
    with applied_as_graphs(plan, host, "torch") as running, ThreadPoolExecutor(2) as pool:
        together = list(pool.map(walk, (1, 2)))
        assert len(running.graphs.made) == 2
    assert all(apart(one, other) == 0 for one, other in zip(together, alone, strict=True))


def control_sizes(unet: UNet2DConditionModel):
    """Channels and side of each skip connection, in order."""
    seen = []
    handles = [
        block.register_forward_hook(lambda _module, _args, output: seen.extend(output[1])) for block in unet.down_blocks
    ]
    unet(**inputs_of(hosts.of(unet), 900))
    for handle in handles:
        handle.remove()
    first = unet.config.block_out_channels[0]
    return [(first, unet.config.sample_size), *((skip.shape[1], skip.shape[-1]) for skip in seen)]


def test_half_precision_is_converted_from_single(tmp_path):
    host = pico.host(**SMALL)
    host.module.to(torch.bfloat16)
    host.outline = rig.outline_of(host, batch=2, tokens=pico.TOKENS)

    def draw():
        outputs = []
        for time in (900, 800, 700, 600):
            given = inputs_of(host, time, seed=time)
            given = {name: value.bfloat16() if value.is_floating_point() else value for name, value in given.items()}
            outputs.append(host.module(**given).sample)
        return outputs

    plan = inherit(4, every=2, sites="up_blocks.0")
    with rig.applied(plan, host):
        live = draw()
    with applied_as_graphs(plan, host, "openvino", keep=tmp_path):
        drawn = draw()
    assert drawn[0].dtype == torch.bfloat16
    scale = max(float(output.abs().max()) for output in live)
    assert apart(live, drawn) < 0.05 * scale


def test_another_model_may_answer_in_between(host):
    small = pico.host(layers_per_block=1)
    plan = inherit(ROWS, every=3, sites="up_blocks.0") | Plan(ROWS, (Rule("4:", "host", Use("small")),))
    with rig.applied(plan, host, others={"small": small}):
        live = run_through(host)
    with applied_as_graphs(plan, host, "torch", others={"small": small}):
        assert apart(run_through(host), live) == 0


def test_an_unknown_backend_is_refused(host):
    with (
        pytest.raises(RigError, match="no backend is called 'tensorflow'"),
        applied_as_graphs(PLANS["whole"], host, "tensorflow"),
    ):
        pass


def test_a_folder_of_graphs_is_all_that_is_needed(host, tmp_path):
    """Walk the rows with ONNX Runtime, numpy and rows.json alone."""
    import numpy as np
    import onnxruntime

    plan = PLANS["line, fitted"]
    with rig.applied(plan, host):
        live = run_through(host)
    write_graphs(plan, host, "onnx", tmp_path / "graphs", batch=2, tokens=pico.TOKENS)
    listed = json.loads((tmp_path / "graphs/rows.json").read_text())
    sessions = {path.name: onnxruntime.InferenceSession(path) for path in (tmp_path / "graphs").glob("*.onnx")}
    assert len(sessions) == 2
    known: dict[tuple[str, int], np.ndarray] = {}
    for number, row in enumerate(listed["rows"]):
        time = 1000 - 100 * number
        given = {name: value.float().numpy() for name, value in inputs_of(host, time, seed=time).items()}
        for path, sources in row["told"].items():
            parts = [known[path, source] * weight for source, weight in zip(*sources.values(), strict=True)]
            given[f"told/{path}"] = np.sum(parts, axis=0, dtype=np.float32)
        session = sessions[row["graph"]]
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(None, given), strict=True))
        known |= {(name.removeprefix("kept/"), number): value for name, value in found.items() if name != "answer"}
        assert np.abs(found["answer"] - live[number].numpy()).max() < 1e-4
    with pytest.raises(OutputExists):
        write_graphs(plan, host, "onnx", tmp_path / "graphs")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("whole", "residual and subunit", "skip") else ())
        for name in PLANS
    ],
)
def test_compiling_never_falls_back(host, name, monkeypatch):
    """The full graph or an error, and as many of them as there are kinds; what code they become is not asked here."""
    from torch._dynamo.utils import counters

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    with rig.applied(PLANS[name], host):
        live = run_through(host)
    with warnings.catch_warnings(), applied_as_graphs(PLANS[name], host, "compile") as running:
        warnings.simplefilter("ignore")
        assert apart(run_through(host), live) == 0
        assert apart(run_through(host), live) == 0
    assert counters["stats"]["unique_graphs"] == len(running.graphs.made) == len(set(Kinds(running.table).of_row))
    assert not counters["graph_break"]


def test_what_shapes_an_answer_makes_another_graph(host, tmp_path):
    """FreeU switched on after a graph was converted is not answered by the graph without it."""
    plan = PLANS["branch 0, held"]

    def answers():
        return host.module(**inputs_of(host, 900)).sample

    ready: dict = {}
    with applied_as_graphs(plan, host, "torch", ready=ready):
        without = answers()
    host.module.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    try:
        with rig.applied(plan, host):
            wanted = answers()
        with applied_as_graphs(plan, host, "torch", ready=ready):
            assert torch.equal(answers(), wanted)
            assert not torch.equal(wanted, without)
    finally:
        host.module.disable_freeu()
    with applied_as_graphs(plan, host, "torch", ready=ready) as running:
        assert torch.equal(answers(), without)
        assert running.graphs.made == []


def test_a_time_step_may_be_a_number(host):
    given = inputs_of(host, 900)
    with applied_as_graphs(PLANS["whole"], host, "torch") as running:
        for time in (900, 800, 700):
            host.module(given["sample"], time, given["encoder_hidden_states"])
        assert len(running.graphs.made) == 1


@pytest.mark.slow
def test_a_site_that_first_runs_later_can_be_exported(host, tmp_path):
    """Left out in row 0, computed in row 1, recalled in row 2."""
    site = "mid_block.attentions.0"
    plan = Plan(3, (Rule("0", site, Skip()), Rule("2", site, Reuse())))
    write_graphs(plan, host, "onnx", tmp_path / "graphs", batch=2, tokens=pico.TOKENS)
    listed = json.loads((tmp_path / "graphs/rows.json").read_text())["rows"]
    assert [row["told"] for row in listed] == [{}, {}, {site: {"rows": [1], "weights": [1.0]}}]


def test_the_answer_itself_can_be_kept(host, tmp_path):
    """OpenVINO refuses a value that is handed out twice, as the host's answer and as a kept one."""
    plan = inherit(4, every=2, sites="conv_out")
    with rig.applied(plan, host):
        live = [host.module(**inputs_of(host, time, seed=time)).sample for time in (9, 8, 7, 6)]
    with applied_as_graphs(plan, host, "openvino", keep=tmp_path):
        assert apart([host.module(**inputs_of(host, time, seed=time)).sample for time in (9, 8, 7, 6)], live) < 1e-4
