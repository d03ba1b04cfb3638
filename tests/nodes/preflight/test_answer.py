"""The pre-flight of the bundled workflows and of what people make of them, with a host of paper."""

from __future__ import annotations

import copy
import json

import pytest
from PIL import Image

DIT, ENCODER, VAE = "gen_model.safetensors", "qwen3vl_8b_fp8_scaled.safetensors", "wan2.2_vae.safetensors"
TINY = "built-in: loom-tiny"
GB = 10**9


@pytest.fixture
def host(stand_in, repo_root):
    """Knows the built-in parts, the released ones by name, and the bundled media."""
    files = stand_in("loom_core.doctor.files")
    finding = stand_in("loom_core.doctor.finding").Finding
    errors = stand_in("loom_core.errors")
    bundle = stand_in("loom_core.bundle")
    look_at = stand_in("loom_core.doctor.media").look_at
    released = stand_in("loom_core.config.model").LOOMVIDEO_5B
    mllm_sizes = stand_in("loom_core.planning.sizes").MLLMSizes
    qwen_sizes = stand_in("loom_core.mllm.sizes").QwenSizes

    class Host:
        free = 24 * GB
        there = (DIT, ENCODER, VAE)

        def _gone(self, check, name):
            return finding.of_error(check, errors.WeightsError(f"no file {name!r}", fix="choose one"))

        def dit(self, name, *, is_edit):
            if name == TINY:
                return files.look_at_dit(bundle.BUILT_IN, takes_quantised=True, is_edit=is_edit)
            if name not in self.there:
                return files.DiTLook((self._gone("model", name),))
            return files.DiTLook((finding.note("model", name),), released)

        def encoder(self, name):
            if name == TINY:
                return files.look_at_encoder(bundle.BUILT_IN / "mllm", takes_quantised=True)
            if name not in self.there:
                return files.EncoderLook((self._gone("encoder", name),))
            return files.EncoderLook((finding.note("encoder", name),), qwen_sizes(36, 4096), mllm_sizes())

        def vae(self, name):
            return [finding.note("vae", name) if name in (TINY, *self.there) else self._gone("vae", name)]

        def suggestion(self, kind):
            name = {"model": DIT, "encoder": ENCODER, "vae": VAE}[kind]
            return name if name in self.there else None

        def media(self, name):
            return look_at(repo_root / "demo" / name.removeprefix("loomvideo_"), check="media")

        def free_memory(self):
            return self.free, True

        def findings(self):
            return [finding.note("comfyui", "ComfyUI 0.33.0")]

    return Host()


@pytest.fixture
def graph(repo_root):
    """A bundled workflow's prompt, and its only node of a class."""

    class Graph:
        def __init__(self, name):
            path = repo_root / "workflows" / "api" / f"{name}.json"
            self.prompt = copy.deepcopy(json.loads(path.read_text(encoding="utf-8")))

        def find(self, kind):
            (found,) = (node for node, value in self.prompt.items() if value["class_type"] == kind)
            return found

        def set(self, kind, **inputs):
            self.prompt[self.find(kind)]["inputs"].update(inputs)
            return self

        def released(self):
            self.set("LoomVideoModelLoader", model_name=DIT)
            self.set("LoomVideoEncoderLoader", encoder_name=ENCODER)
            return self.set("LoomVideoVAELoader", vae_name=VAE)

    return Graph


@pytest.fixture
def told(stand_in, host):
    """(level, check) -> the findings of a graph; the answer can be written as JSON."""

    def tell(made):
        answer = stand_in("nodes.preflight.answer").answer(made.prompt, host)
        assert json.loads(json.dumps(answer)) == answer
        assert answer["version"] == 1
        findings = answer["findings"]
        for level in ("error", "warning"):
            assert answer[f"{level}s"] == len([one for one in findings if one["level"] == level])
        assert all(one["sentence"].startswith("found ") for one in findings)
        assert all(one["action"] for one in findings if one["fix"] and one["node"])
        return findings

    return tell


def bad(findings, level="error"):
    return [one for one in findings if one["level"] == level]


def only(findings, level="error"):
    (one,) = bad(findings, level)
    return one


def test_bundled_workflows_have_no_fault(repo_root, graph, told):
    paths = sorted((repo_root / "workflows" / "api").glob("*.json"))
    assert len(paths) == 10
    for path in paths:
        findings = told(graph(path.stem))
        assert [one["sentence"] for one in findings if one["level"] == "error"] == [], path.stem
        assert {"model", "encoder", "vae", "comfyui"} <= {one["check"] for one in findings}


def test_a_mention_without_its_reference(graph, told):
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="Use @Image 2 here.")
    findings = told(made)
    error, node = only(findings), made.find("LoomVideoDeepstackEncode")
    assert "@Image 2 in the prompt with 1 reference" in error["sentence"]
    assert (error["node"], error["input"]) == (node, "prompt")
    assert error["action"] == {"kind": "show", "node": node, "input": "prompt"}
    assert "reference 1, which the prompt never mentions" in only(findings, "warning")["sentence"]


def test_several_pictures_in_a_slot_may_be_mentioned(graph, told):
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="Use @Image 1 and @Image 2.")
    made.prompt["77"] = {"class_type": "ImageBatch", "inputs": {"image1": ["5", 0], "image2": ["5", 0]}}
    made.set("LoomVideoReferenceSlots", **{"images.image_1": ["77", 0]})
    assert bad(told(made)) == []


def test_numbers_count_the_pictures_of_an_animation(graph, told, tmp_path):
    """As nodes/references.py numbers them: slot 2 is @Image 4 behind an animation of three pictures."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "moves.webp", save_all=True, append_images=frames[1:], duration=100)
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="@Image 1, @Image 2, @Image 3 and @Image 4")
    made.prompt["77"] = {"class_type": "LoadImage", "inputs": {"image": str(tmp_path / "moves.webp")}}
    made.set("LoomVideoReferenceSlots", **{"images.image_1": ["77", 0], "images.image_2": ["5", 0]})
    assert bad(told(made)) == []
    assert any("@Image 4, loomvideo_maroon.png" in one["sentence"] for one in told(made))
    made.set("LoomVideoDeepstackEncode", prompt="@Image 5")
    assert "@Image 5 in the prompt with 4 references" in only(told(made))["sentence"]
    made.set("LoomVideoReferenceSlots", batch="one reference of many frames")
    assert "@Image 5 in the prompt with 2 references" in only(told(made))["sentence"]
    made.prompt["77"] = {"class_type": "ImageBatch", "inputs": {"image1": ["5", 0], "image2": ["5", 0]}}
    made.set("LoomVideoReferenceSlots", batch="one reference a frame")
    assert bad(told(made)) == []
    assert any("@Image ?, loomvideo_maroon.png" in one["sentence"] for one in told(made)), "a run decides its number"


def test_transparency_is_told_as_the_loader_takes_it(graph, told, tmp_path):
    """ComfyUI's Load Image gives the colours alone; what another node makes of both of its outputs is not looked at."""
    cutout = Image.new("RGBA", (832, 480), (200, 0, 0, 255))
    cutout.putpixel((5, 5), (200, 0, 0, 0))
    cutout.save(tmp_path / "cutout.png")
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="@Image 1")
    made.prompt["77"] = {"class_type": "LoadImage", "inputs": {"image": str(tmp_path / "cutout.png")}}
    made.set("LoomVideoReferenceSlots", **{"images.image_1": ["77", 0], "width": 832, "height": 480})
    assert "cutout.png with transparency, which the loader leaves out" in only(told(made), "warning")["sentence"]
    made.prompt["78"] = {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["77", 0], "alpha": ["77", 1]}}
    made.set("LoomVideoReferenceSlots", **{"images.image_1": ["78", 0]})
    assert bad(told(made)) == []


def test_an_animation_is_not_counted_where_another_node_says_how_slots_are_taken(graph, told, tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "walks.webp", save_all=True, append_images=frames[1:], duration=100)
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="@Image 1, @Image 2 and @Image 3")
    made.prompt["77"] = {"class_type": "LoadImage", "inputs": {"image": str(tmp_path / "walks.webp")}}
    made.prompt["78"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "one reference ", "string_b": "..."}}
    made.set("LoomVideoReferenceSlots", **{"images.image_1": ["5", 0], "images.image_2": ["77", 0], "batch": ["78", 0]})
    assert bad(told(made)) == []
    assert "@Image 3 in the prompt with 2 references" in only(told(made), "warning")["sentence"]
    made.prompt["78"] = {"class_type": "PrimitiveString", "inputs": {"value": "one reference of many frames"}}
    assert "@Image 3 in the prompt with 2 references" in only(told(made))["sentence"]
    made.set("LoomVideoReferenceSlots", **{"images.image_2": ["5", 0], "batch": ["79", 0]})
    made.prompt["79"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "one reference ", "string_b": "..."}}
    assert "@Image 3 in the prompt with 2 references" in only(told(made))["sentence"], "stills are one each either way"


def test_a_gap_between_slots(graph, told):
    made = graph("reference_edit").set("LoomVideoReferenceSlots", **{"images.image_3": ["5", 0]})
    assert any("image_2 empty with image_3 connected" in one["sentence"] for one in bad(told(made)))


def test_a_length_is_set_where_it_is_written(graph, told):
    made = graph("text_to_video").set("LoomVideoEmptyLatent", length=98)
    error, node = only(told(made)), made.find("LoomVideoEmptyLatent")
    assert (error["check"], error["input"]) == ("frames", "length")
    assert error["action"] == {"kind": "set", "values": [{"node": node, "input": "length", "value": 97}]}
    made.prompt["77"] = {"class_type": "PrimitiveInt", "inputs": {"value": 98}}
    error = only(told(made.set("LoomVideoEmptyLatent", length=["77", 0])))
    assert error["action"]["values"] == [{"node": "77", "input": "value", "value": 97}]


def test_a_length_of_the_size_helper_is_set_there(graph, told):
    made = graph("text_to_video").released().set("LoomVideoSizeHelper", length=201)
    warning = only(told(made), "warning")
    helper = made.find("LoomVideoSizeHelper")
    assert warning["action"] == {"kind": "set", "values": [{"node": helper, "input": "length", "value": 121}]}


def test_a_size(graph, told):
    made = graph("text_to_video").set("LoomVideoEmptyLatent", width=1000, height=600)
    error, node = only(told(made)), made.find("LoomVideoEmptyLatent")
    assert error["action"]["values"] == [
        {"node": node, "input": "width", "value": 992},
        {"node": node, "input": "height", "value": 608},
    ]
    made.set("LoomVideoEmptyLatent", height=["77", 0])  # from a node that nobody here knows
    assert bad(told(made)) == []


def test_a_rate(graph, told):
    made = graph("video_edit").set("LoomVideoSourceLatentScaler", fps=12.0)
    warning, node = only(told(made), "warning"), made.find("LoomVideoSourceLatentScaler")
    assert warning["action"]["values"] == [{"node": node, "input": "fps", "value": 24.0}]


def test_sound_that_is_lost(graph, told):
    made = graph("video_edit")
    assert any("with sound, which is kept" in one["sentence"] for one in told(made))
    restore = made.find("LoomVideoRestoreVideo")
    made.prompt[restore] = {"class_type": "CreateVideo", "inputs": {"images": ["8", 0], "fps": 24.0}}
    assert "sound, which the result will not have" in only(told(made), "warning")["sentence"]
    made.prompt[restore]["inputs"]["audio"] = [made.find("LoomVideoSourceLatentScaler"), 2]
    assert bad(told(made), "warning") == []


def test_files_that_are_gone_can_be_changed_for_the_usual_ones(graph, told, host):
    made = graph("text_to_video").set("LoomVideoVAELoader", vae_name="wan_2.1_vae.safetensors")
    error, node = only(told(made)), made.find("LoomVideoVAELoader")
    assert (error["check"], error["node"], error["input"]) == ("vae", node, "vae_name")
    assert error["action"] == {"kind": "set", "values": [{"node": node, "input": "vae_name", "value": VAE}]}
    host.there = ()
    assert only(told(made))["action"] == {"kind": "show", "node": node, "input": "vae_name"}


def test_loaders_of_the_host_are_looked_at_where_they_feed_our_nodes(graph, told):
    made = graph("video_edit")
    made.prompt["77"] = {"class_type": "VAELoader", "inputs": {"vae_name": "other.safetensors"}}
    assert bad(told(made)) == []
    made.set("LoomVideoSourceLatentScaler", vae=["77", 0])
    assert only(told(made))["node"] == "77"


def test_media_that_are_gone(graph, told):
    made = graph("video_edit").set("LoadVideo", file="gone.mp4")
    error = only(told(made))
    assert (error["node"], error["input"], error["check"]) == (made.find("LoadVideo"), "file", "media")


def test_parts_of_different_models(graph, told):
    made = graph("text_to_video").released().set("LoomVideoEncoderLoader", encoder_name=TINY)
    error = only(told(made))
    assert (error["node"], error["input"]) == (made.find("LoomVideoDeepstackEncode"), "clip")
    assert "an encoder of 6 layers" in error["sentence"]


def test_memory(graph, told, host):
    made = graph("text_to_video").released().set("LoomVideoSizeHelper", length=121)
    (note,) = (one for one in told(made) if one["check"] == "memory")
    assert note["level"] == "note" and "832x480, 121 frames" in note["sentence"]
    host.free = 11 * GB
    warning = only(told(made), "warning")
    (value,) = warning["action"]["values"]
    assert value["node"] == made.find("LoomVideoSizeHelper") and value["value"] < 121
    made.set("LoomVideoSizeHelper", length=value["value"])
    assert bad(told(made), "warning") == []
    made.set("LoomVideoModelLoader", weight_dtype="fp8_e4m3fn").set("LoomVideoSizeHelper", length=121)
    assert bad(told(made), "warning") == []


def test_a_slow_attention_is_nothing_to_warn_of_for_the_built_in_model(graph, told, host, stand_in):
    finding = stand_in("loom_core.doctor.finding").Finding
    slow = finding.warning("attention", "attention_sub_quad", expected="a fused kernel", fix="start with another")
    host.findings = lambda: [slow]
    made = graph("video_edit")
    assert [one["level"] for one in told(made) if one["check"] == "attention"] == ["note"]
    assert [one["level"] for one in told(made.released()) if one["check"] == "attention"] == ["warning"]


def test_tasks_that_do_not_fit(graph, told):
    made = graph("text_to_video").set("LoomVideoDeepstackEncode", task="edit-video")
    error = only(told(made))
    assert (error["check"], error["input"]) == ("task", "task") and "without a source" in error["sentence"]
    assert bad(told(graph("video_edit").set("LoomVideoDeepstackEncode", task="edit-video"))) == []
    assert bad(told(graph("image_edit").set("LoomVideoDeepstackEncode", task="edit-image"))) == []
    assert len(bad(told(graph("image_edit").set("LoomVideoDeepstackEncode", task="edit-video")))) == 1


def test_an_empty_prompt(graph, told):
    assert (
        "an empty prompt" in only(told(graph("text_to_video").set("LoomVideoDeepstackEncode", prompt=" ")))["sentence"]
    )


def test_a_graph_without_our_nodes(told, graph):
    made = graph("text_to_video")
    made.prompt = {"1": {"class_type": "LoadImage", "inputs": {"image": "gone.png"}}}
    assert [one["check"] for one in told(made)] == ["comfyui"]


@pytest.mark.parametrize("odd", [None, True, "832", [1], {"a": 1}, -5, 1e12, 0, float("nan"), float("inf")])
def test_odd_values_never_break_it(graph, told, odd):
    for name in ("reference_edit", "text_to_video"):
        for node, value in graph(name).prompt.items():
            for key in value["inputs"]:
                made = graph(name).released()
                made.prompt[node]["inputs"][key] = odd
                told(made)


def test_a_report_tells_of_the_nodes_and_of_nothing_private(graph, host, stand_in, monkeypatch, tmp_path):
    home = tmp_path / "erika"
    monkeypatch.setenv("HOME", str(home))
    finding = stand_in("loom_core.doctor.finding").Finding
    monkeypatch.setattr(host, "findings", lambda: [finding.note("model", f"{home}/models/gen_model.safetensors")])
    answer = stand_in("nodes.preflight.answer").answer
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="A secret of @Image 7")
    text = answer(made.prompt, host, with_report=True)["report"]
    assert "erika" not in text and "secret" not in text
    assert "LoomVideoDeepstackEncode" in text and "gen_model.safetensors" in text and "@Image 7" in text
    assert "report" not in answer(made.prompt, host)
