"""What was read once is not read again; what would be read otherwise, is."""

from __future__ import annotations

import gc
import logging
import os
import weakref

import pytest
import torch


@pytest.fixture
def written(tmp_path):
    """Files of the cache."""
    return lambda: sorted((tmp_path / "prompts").glob("*.safetensors"))


def test_the_same_request_is_read_once(golden_clip, read, edit_of, cache, passes):
    lengths = passes(golden_clip)
    first = read(golden_clip, edit_of(), cache=cache)
    assert len(lengths) == 3
    again = read(golden_clip, edit_of(), cache=cache)
    assert len(lengths) == 3
    assert all(again.states[branch] is states for branch, states in first.states.items())
    assert again.summary.endswith("from the cache: all")


def test_only_what_is_new_is_read(golden_clip, read, edit_of, request_of, cache, passes, types):
    read(golden_clip, edit_of(), cache=cache)
    lengths = passes(golden_clip)
    read(golden_clip, edit_of(prompt="another @Image 1 and @Image 2"), cache=cache)
    assert len(lengths) == 1  # the pictures and the negative prompt are the same
    read(golden_clip, request_of(), cache=cache)
    assert len(lengths) == 2  # and the negative prompt is that of all requests
    read(golden_clip, request_of(negative_prompt="other"), cache=cache)
    assert len(lengths) == 3


@pytest.mark.parametrize(
    "change", ["prompt", "negative_prompt", "source", "references", "layout", "max_frames", "task", "order"]
)
def test_whatever_changes_what_is_read_is_read(golden_clip, read, edit_of, cache, passes, types, pictures, change):
    request = edit_of(source=types.Clip(pictures(61, 64, 96, seed=1), 24.0))
    read(golden_clip, request, cache=cache)
    lengths = passes(golden_clip)
    frames = request.source.frames.clone()
    frames[0, 0, 0, 0] ^= 1  # the least that a picture can change by
    changes = {
        "prompt": {"prompt": request.prompt + " "},
        "negative_prompt": {"negative_prompt": ""},
        "source": {"source": types.Clip(frames, 24.0)},
        "references": {
            "references": (request.references[0], types.Clip(pictures(1, 50, 90, seed=4), 0.0, is_image=True))
        },
        "layout": {"layout": "inline"},
        "max_frames": {"max_frames": 3},
        "task": {"task": types.Task.REFERENCE_TO_VIDEO, "source": None},
        "order": {"references": request.references[::-1]},
    }
    given = {"source": request.source, "references": request.references, **changes[change]}
    read(golden_clip, edit_of(**given), cache=cache)
    assert len(lengths) == (1 if change in ("prompt", "negative_prompt") else 2)


def test_frames_that_the_mllm_does_not_see_do_not_count(golden_clip, read, edit_of, cache, passes, types, pictures):
    frames = pictures(61, 64, 96, seed=1)
    read(golden_clip, edit_of(source=types.Clip(frames, 24.0)), cache=cache)
    lengths, other = passes(golden_clip), frames.clone()
    other[7] = 0
    read(golden_clip, edit_of(source=types.Clip(other, 24.0)), cache=cache)
    assert lengths == []


def test_another_encoder(golden_clip, loading, copy_golden, read, request_of, cache, passes):
    from safetensors.torch import load_file, save_file

    read(golden_clip, request_of(), cache=cache)
    same = loading.load_path(copy_golden("same", loom_num_blocks=3))
    more_blocks = loading.load_path(copy_golden("more", loom_num_blocks=4))
    rounded = loading.load_path(copy_golden("rounded", loom_num_blocks=3, loom_rope_precision="bf16"))
    changed_folder = copy_golden("changed", loom_num_blocks=3)
    weights = load_file(changed_folder / "model.safetensors")
    weights["model.language_model.layers.1.mlp.up_proj.weight"] += 1
    save_file(weights, changed_folder / "model.safetensors")
    changed = loading.load_path(changed_folder)
    for clip, count in ((same, 0), (more_blocks, 2), (rounded, 2), (changed, 2)):
        lengths = passes(clip)
        read(clip, request_of(), cache=cache)
        assert len(lengths) == count


def lora_of(clip, strength):
    """A clone of a CLIP with changed weights, as the host's LoRA nodes make one."""
    name = next(name for name in clip.patcher.model.state_dict() if name.endswith("layers.3.mlp.up_proj.weight"))
    patched = clip.clone()
    assert patched.add_patches({name: (torch.ones_like(clip.patcher.model.state_dict()[name]),)}, strength)
    return patched


def test_a_lora_on_the_clip(golden_clip, read, request_of, cache, passes):
    lengths = passes(golden_clip)
    plain = read(golden_clip, request_of(), cache=cache)
    patched = lora_of(golden_clip, 1.0)
    changed = read(patched, request_of(on_disk=True), cache=cache)
    assert len(lengths) == 4
    assert not torch.equal(*(encoded.states[next(iter(encoded.states))] for encoded in (plain, changed)))
    assert "not kept on disk" in changed.summary
    read(patched.clone(), request_of(), cache=cache)
    assert len(lengths) == 4
    read(lora_of(golden_clip, 0.5), request_of(), cache=cache)
    assert len(lengths) == 6
    again = read(golden_clip, request_of(), cache=cache)
    assert len(lengths) == 6
    assert all(again.states[branch] is states for branch, states in plain.states.items())


def test_what_cannot_be_compared_is_always_read(golden_clip, read, request_of, cache, passes):
    lengths, patched = passes(golden_clip), golden_clip.clone()
    patched.patcher.add_object_patch("anything", 1)
    for _ in range(2):
        encoded = read(patched, request_of(on_disk=True), cache=cache)
    assert len(lengths) == 4
    assert "cache:" not in encoded.summary


def test_a_clip_without_a_file_is_known_as_long_as_it_lives(golden_clip, read, request_of, cache, passes, written):
    golden_clip.patcher.cached_patcher_init = None
    lengths = passes(golden_clip)
    for _ in range(2):
        encoded = read(golden_clip.clone(), request_of(on_disk=True), cache=cache)
    assert len(lengths) == 2
    assert "not kept on disk" in encoded.summary
    assert written() == []


def test_a_file_that_is_replaced_while_it_is_loaded(golden_clip, golden_folder, read, request_of, cache, passes):
    lengths = passes(golden_clip)
    read(golden_clip, request_of(), cache=cache)
    path = golden_folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    read(golden_clip, request_of(), cache=cache)
    assert len(lengths) == 2


def test_memory_is_bounded_and_the_oldest_goes_first(make_cache):
    states = torch.zeros(1, 10, 10, dtype=torch.bfloat16)  # 200 bytes
    cache = make_cache(most_memory=500)
    for key in "abcd":
        cache.put(key, states.clone(), on_disk=False)
        cache.get("a", on_disk=False)
    assert [key in cache for key in "abcd"] == [True, False, False, True]
    assert cache.num_bytes == 400


def test_the_last_is_kept_whatever_its_size(make_cache):
    cache = make_cache(most_memory=10)
    cache.put("a", torch.zeros(100), on_disk=False)
    assert "a" in cache
    cache.put("b", torch.zeros(100), on_disk=False)
    assert ["a" in cache, "b" in cache] == [False, True]


def test_disk_only_on_request(golden_clip, read, request_of, cache, written):
    read(golden_clip, request_of(), cache=cache)
    assert written() == []


def test_disk_outlives_the_process(golden_clip, loading, golden_folder, read, edit_of, make_cache, passes, written):
    first = read(golden_clip, edit_of(on_disk=True), cache=make_cache())
    assert len(written()) == 3
    clip = loading.load_path(golden_folder)
    lengths = passes(clip)
    again = read(clip, edit_of(on_disk=True), cache=make_cache())
    assert lengths == []
    for branch, states in first.states.items():
        assert torch.equal(again.states[branch], states)
        assert again.states[branch].dtype == torch.bfloat16
    read(clip, edit_of(on_disk=False), cache=make_cache())
    assert len(lengths) == 3


def test_what_is_in_memory_goes_to_disk_when_that_is_asked_for(golden_clip, read, edit_of, cache, passes, written):
    read(golden_clip, edit_of(), cache=cache)
    lengths = passes(golden_clip)
    read(golden_clip, edit_of(on_disk=True), cache=cache)
    assert len(written()) == 3
    assert lengths == []


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_a_damaged_file_is_read_anew(golden_clip, read, request_of, make_cache, passes, written, caplog, damage):
    first = read(golden_clip, request_of(on_disk=True), cache=make_cache())
    path = written()[0]
    data = path.read_bytes()
    changed = {"cut": data[:-7], "empty": b"", "other": b"not a safetensors file" * 9}
    changed["flipped"] = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes(changed[damage])
    lengths = passes(golden_clip)
    with caplog.at_level(logging.WARNING):
        again = read(golden_clip, request_of(on_disk=True), cache=make_cache())
    assert len(lengths) == 1
    assert "damaged file" in caplog.text
    assert path.read_bytes() == data
    for branch, states in first.states.items():
        assert torch.equal(again.states[branch], states)


def test_disk_is_bounded_and_what_was_used_last_stays(make_cache, written):
    states = torch.zeros(1, 100, 100, dtype=torch.bfloat16)  # 20 kB
    cache = make_cache(most_disk=50_000)
    for number, key in enumerate("abc"):
        cache.put(key, states.clone(), on_disk=True)
        os.utime(written()[-1], (number, number))
        if key == "b":
            make_cache().get("a", on_disk=True)
    assert [path.stem for path in written()] == ["a", "c"]


def test_a_disk_that_cannot_be_written_to_does_not_end_the_run(part, golden_clip, read, request_of, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = part("nodes.adapter.encoder.cache").StateCache(
        most_memory=lambda: 1 << 20, folder=lambda: tmp_path / "file" / "prompts", most_disk=1 << 20
    )
    with caplog.at_level(logging.WARNING):
        assert read(golden_clip, request_of(on_disk=True), cache=cache).states
    assert "is not kept on disk" in caplog.text


def test_a_disk_that_may_only_be_read_still_serves(make_cache, monkeypatch):
    states = torch.ones(1, 2, 4, dtype=torch.bfloat16)
    make_cache().put("a" * 64, states, on_disk=True)

    def refuse(*_, **__):
        raise PermissionError(13, "read only")

    monkeypatch.setattr(os, "utime", refuse)
    assert torch.equal(make_cache().get("a" * 64, on_disk=True), states)


def test_nothing_half_written_stays(part, make_cache, tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part("nodes.adapter.encoder.cache"), "save_file", fail)
    make_cache().put("a", torch.zeros(3), on_disk=True)
    assert list((tmp_path / "prompts").iterdir()) == []


def test_the_folder_is_the_hosts(part, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    assert part("nodes.adapter.encoder.cache")._folder() == tmp_path / "__loomvideo" / "prompts"
    assert 0 < part("nodes.adapter.encoder.cache")._most_memory() <= 2 << 30


def test_models_are_let_go_of(loading, golden_folder, read, edit_of, cache):
    """Neither what is kept nor what was patched in holds a model that the host has let go of."""
    from comfy import model_management

    clip = loading.load_path(golden_folder)
    read(clip, edit_of(), cache=cache)
    transformer = next(part for name, part in clip.cond_stage_model.named_modules() if name.endswith(".transformer"))
    models = [weakref.ref(clip.cond_stage_model), weakref.ref(transformer)]
    gc.collect()
    gc.disable()  # what only its collector frees would lie about for long
    try:
        del clip, transformer
        model_management.unload_all_models()
        assert [model() for model in models] == [None, None]
    finally:
        gc.enable()
    assert cache.num_bytes > 0
