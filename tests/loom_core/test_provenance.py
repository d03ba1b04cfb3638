"""What a result says of how it was made."""

from __future__ import annotations

import json
from dataclasses import replace

from loom_core.compute import Compute
from loom_core.config.presets import PRESETS
from loom_core.provenance import describe
from loom_core.request import Request, plan_request


def test_everything_with_a_say_is_recorded_and_no_path(small_files, harbour, still):
    request = Request(prompt="ein Boot für @Image 1", source=harbour, references=(still,), seed=5, posterior="mode")
    plan = plan_request(request, PRESETS["tiny"])
    config = small_files.dit_config()
    record = describe(plan, small_files, config=config, compute=Compute())
    assert record["prompt"] == "ein Boot für @Image 1"
    assert json.loads(record["references"]) == ["shapes.png"]
    assert record["posterior"] == "mode"
    assert len(record["weights_sha256"]) == 64
    assert "torch" in json.loads(record["versions"])
    assert not any(str(path.parent) in value for value in record.values() for path in (harbour, small_files.dit))
    other = describe(
        plan,
        small_files,
        config=replace(config, rope_precision="bf16"),
        compute=Compute(tile_latents=8, attention="sage"),
    )
    assert {name for name in record if record[name] != other[name]} == {"rope_precision", "tile_latents", "attention"}
