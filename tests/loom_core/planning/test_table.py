import json
from dataclasses import replace

from loom_core.planning.choice import GIGA, choose
from loom_core.planning.plan import Setting
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes
from loom_core.planning.table import plan_data, plan_lines

SETTING = Setting(
    run=RunSizes(width=832, height=480, num_frames=81, has_source=True), model=ModelSizes(), form=FORMATS["bf16"]
)


def test_lines_tell_sizes_and_reasons():
    plan = choose(replace(SETTING, offload="none"), 12 * GIGA)
    lines = plan_lines(plan)
    assert lines[0] == "832x480, 81 frames, source; bf16 weights; a GPU with 12.0 GB free"
    assert [line.split()[0] for line in lines[2:6]] == ["prompt", "encode", "denoise", "decode"]
    assert "(in the processor's memory)" in lines[2]
    row = lines[4].split()
    assert sum(map(float, row[1:7])) == float(row[7]) or abs(sum(map(float, row[1:7])) - float(row[7])) < 0.04
    assert any(line.startswith("denoise: keys and values") for line in lines)
    assert f"needs {plan.needed / GIGA:.1f} GB free" in "\n".join(lines)
    assert "note" not in "\n".join(lines)


def test_data_is_the_same_in_bytes():
    plan = choose(SETTING, 12 * GIGA)
    data = json.loads(json.dumps(plan_data(plan)))
    assert data["needed"] == plan.needed
    assert data["measures"]["mllm_on_cpu"] is False and data["measures"]["streams_mllm"] is True
    for phase, entry in zip(data["phases"], plan.fitted, strict=True):
        parts = ("weights", "held", "cache", "conditions", "latents", "activations")
        assert sum(phase[part] for part in parts) == phase["peak"] == entry.phase.peak.total


def test_branches_of_streamed_weights_run_in_lockstep():
    assert "lockstep" in plan_lines(choose(SETTING, 8 * GIGA))[-1]
    assert "one after another; together" in plan_lines(choose(SETTING, 24 * GIGA))[-1]
