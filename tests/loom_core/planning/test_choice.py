"""What is chosen for a budget: fits, costs least, and where nothing fits the sentence tells the truth."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from loom_core.config.model import LOOM_TINY, LOOMVIDEO_5B
from loom_core.errors import ResourceError
from loom_core.planning.choice import GIGA, branches_together, choose, least_budget, most_frames
from loom_core.planning.plan import DECODE, DENOISE, ENCODE, PROMPT, Measures, Setting, phase_of
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes
from loom_core.planning.streaming import LEAST_STREAMED, block_bytes

EDIT = RunSizes(width=832, height=480, num_frames=81, has_source=True)


def setting_of(form="bf16", *, on_gpu=True, **sizes):
    return Setting(run=replace(EDIT, **sizes), model=ModelSizes(), form=FORMATS[form], on_gpu=on_gpu)


def test_what_fits_is_left_as_it_is():
    plan = choose(setting_of(), 24 * GIGA)
    assert plan.measures == Measures() == choose(setting_of(), None).measures
    assert plan.needed <= 24 * GIGA


def test_text_alone_encodes_nothing():
    names = [entry.phase.name for entry in choose(setting_of(has_source=False), None).fitted]
    assert names == [PROMPT, DENOISE, DECODE]


@pytest.mark.parametrize("form", ["bf16", "fp8"])
@pytest.mark.parametrize("card", range(5, 25))
@pytest.mark.parametrize("references", [0, 4])
def test_every_phase_fits_or_none_is_promised(form, card, references):
    setting = setting_of(form, num_references=references)
    if card * GIGA < least_budget(setting):
        with pytest.raises(ResourceError, match=f"expected at most {card}.0 GB"):
            choose(setting, card * GIGA)
        return
    plan = choose(setting, card * GIGA)
    for entry in plan.fitted:
        assert entry.phase.on_cpu or entry.phase.peak.needed <= card * GIGA


def test_one_measure_after_another_as_memory_shrinks():
    setting = replace(setting_of("fp8", num_references=4), offload="none")
    seen = []
    for tenths in range(300, 0, -1):
        budget = tenths * GIGA // 10
        if budget < least_budget(setting):
            break
        measures = choose(setting, budget).measures
        kind = (
            measures.mllm_on_cpu,
            measures.keeps_keys_values,
            measures.encode_tile is None,
            measures.decode_tile is None,
        )
        if not seen or seen[-1] != kind:
            seen.append(kind)
    assert seen[0] == (False, True, True, True)
    assert seen[-1][:2] == (True, False)
    for earlier, later in pairwise(seen):
        assert earlier[0] <= later[0] and earlier[1] >= later[1]


def test_the_least_budget_is_the_least():
    setting = setting_of()
    least = least_budget(setting)
    assert choose(setting, least).needed <= least
    with pytest.raises(ResourceError):
        choose(setting, least - GIGA // 100)


def test_the_most_frames_are_the_most():
    budget = least_budget(setting_of()) - 1
    frames = most_frames(setting_of(), budget)
    assert 5 <= frames < 81
    assert least_budget(setting_of(num_frames=frames)) <= budget < least_budget(setting_of(num_frames=frames + 4))
    assert most_frames(setting_of(), GIGA) is None


def test_ways_out_are_ways_out():
    setting = replace(setting_of(width=1280, height=704, num_frames=121), offload="none")
    with pytest.raises(ResourceError) as caught:
        choose(setting, 12 * GIGA)
    text = str(caught.value)
    assert "1280x704, 121 frames, source with bf16 weights, whose phase denoise needs" in text
    frames = int(re.search(r"use (\d+) frames", text).group(1))
    choose(replace(setting, run=replace(setting.run, num_frames=frames)), 12 * GIGA)
    with pytest.raises(ResourceError):
        choose(replace(setting, run=replace(setting.run, num_frames=frames + 4)), 12 * GIGA)
    width, height = map(int, re.search(r"use (\d+)x(\d+)", text).groups())
    choose(replace(setting, run=replace(setting.run, width=width, height=height)), 12 * GIGA)
    assert re.search("use fp8 weights(;|$)", text)
    choose(replace(setting, form=FORMATS["fp8"]), 12 * GIGA)
    needed = float(re.search(r"a device with ([\d.]+) GB free", text).group(1))
    choose(setting, int((needed + 0.1) * GIGA))


def test_on_a_cpu_all_is_in_one_memory():
    gpu, cpu = choose(setting_of(), None), choose(setting_of(on_gpu=False), None)
    of_gpu, of_cpu = ({entry.phase.name: entry.phase.peak.held for entry in plan.fitted} for plan in (gpu, cpu))
    assert of_gpu[PROMPT] == of_gpu[DENOISE] == 0
    assert min(of_cpu[PROMPT], of_cpu[ENCODE], of_cpu[DENOISE]) > 0
    with pytest.raises(ResourceError, match="phase prompt needs"):
        choose(setting_of(on_gpu=False), 16 * GIGA)  # no other processor to send it to


def test_costs_are_told():
    setting = replace(setting_of("fp8", num_frames=37), offload="none")
    reasons = {entry.phase.name: entry.reason for entry in choose(setting, 6 * GIGA).fitted}
    assert "made anew" in reasons[DENOISE] and "% more work a step" in reasons[DENOISE]
    tokens = sum(setting_of(num_frames=37).run.branches.values())
    assert f"on the processor, about {2 * 7.56e9 * tokens / 1e12:.0f} TFLOP" in reasons[PROMPT]
    assert "tiles of" in reasons[DECODE]


def test_branches_together_take_more():
    setting = setting_of()
    more = branches_together(setting, Measures())
    alone = max(moment.activations for moment in choose(setting, None).fitted[2].phase.moments)
    assert more == pytest.approx(2 * alone, rel=0.01)
    small = replace(setting, model=ModelSizes(dit=LOOM_TINY))
    assert 0 < branches_together(small, Measures()) < more


@pytest.mark.parametrize("card", [6, 8, 12])
def test_released_weights_run_on_small_cards(card):
    plan = choose(setting_of(), card * GIGA)
    assert plan.needed <= card * GIGA and plan.measures.streams_mllm
    assert (plan.measures.streamed_blocks > 0) == (card < 12)
    with pytest.raises(ResourceError):
        choose(replace(setting_of(), offload="none"), 8 * GIGA)


def test_no_more_blocks_are_streamed_than_it_takes():
    setting = setting_of()
    plan = choose(setting, 8 * GIGA)
    count = plan.measures.streamed_blocks
    assert LEAST_STREAMED <= count < 30
    fewer = phase_of(DENOISE, setting, replace(plan.measures, streamed_blocks=count - 1))
    assert fewer.peak.needed > 8 * GIGA


def test_the_cost_of_streaming_is_said():
    plan = choose(replace(setting_of(), offload="blocks"), None)
    reasons = {entry.phase.name: entry.reason for entry in plan.fitted}
    moved = 30 * block_bytes(LOOMVIDEO_5B, FORMATS["bf16"])
    assert f"30 of 30 blocks come for their turn: {moved / GIGA:.1f} GB a step" in reasons[DENOISE]
    assert f"{moved / 25e9:.2f} s over PCIe 4.0 x16" in reasons[DENOISE]
    assert "the MLLM's layers come one after another: 41.7 GB once a run" in reasons[PROMPT]


def test_quantised_weights_are_streamed_where_that_is_not_enough():
    """As few blocks as it takes, fewer than of bf16, at a cost that says what they weigh."""
    plan, wide = choose(setting_of("fp8"), 6 * GIGA), choose(setting_of(), 6 * GIGA)
    assert plan.needed <= 6 * GIGA
    assert LEAST_STREAMED <= plan.measures.streamed_blocks < wide.measures.streamed_blocks
    fewer = replace(plan.measures, streamed_blocks=plan.measures.streamed_blocks - 1)
    assert phase_of(DENOISE, plan.setting, fewer).peak.needed > 6 * GIGA
    assert plan.measures.streams_mllm and not plan.measures.mllm_on_cpu
    reasons = {entry.phase.name: entry.reason for entry in plan.fitted}
    moved = plan.measures.streamed_blocks * block_bytes(LOOMVIDEO_5B, FORMATS["fp8"])
    assert f"{moved / GIGA:.1f} GB a step" in reasons[DENOISE]


def test_the_mllm_s_own_format_is_what_its_layers_cost():
    setting = replace(setting_of(), offload="blocks", mllm_form=FORMATS["fp8"])
    reasons = {entry.phase.name: entry.reason for entry in choose(setting, None).fitted}
    assert "the MLLM's layers come one after another: 20.8 GB once a run" in reasons[PROMPT]


@pytest.mark.parametrize(
    "setting", [setting_of(on_gpu=False), setting_of("fp8", on_gpu=False), replace(setting_of("int8"), offload="none")]
)
def test_nothing_is_streamed_where_a_host_does_it_or_there_is_one_memory(setting):
    plan = choose(setting if setting.on_gpu else replace(setting, offload="blocks"), None)
    assert not plan.measures.streamed_blocks and not plan.measures.streams_mllm
    least = least_budget(setting)
    assert not choose(setting, least).measures.streamed_blocks
