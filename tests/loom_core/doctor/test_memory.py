"""The plan of a run against what is free."""

import pytest

from loom_core.doctor import memory
from loom_core.doctor.finding import Level
from loom_core.doctor.memory import check_memory, free_memory
from loom_core.planning.choice import GIGA, choose, least_budget
from loom_core.planning.plan import Setting
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes


def setting(num_frames=81):
    run = RunSizes(width=832, height=480, num_frames=num_frames, has_source=True)
    return Setting(run=run, model=ModelSizes(), form=FORMATS["bf16"])


def test_what_fits_says_how():
    (finding,) = check_memory(setting(), 24 * GIGA, where="GPU")
    plan = choose(setting(), 24 * GIGA)
    assert finding.level is Level.NOTE
    assert f"{plan.needed / GIGA:.1f} GB predicted for 832x480, 81 frames, source" in finding.found
    assert all(entry.reason in finding.found for entry in plan.fitted)
    assert finding.expected == "at most the 24.0 GB that are free on the GPU"


def test_what_does_not_fit_offers_what_would():
    free = least_budget(setting(121)) - 1
    (finding,) = check_memory(setting(121), free, where="GPU")
    assert (finding.level, finding.exit_code) == (Level.WARNING, 6)
    shorter = finding.settings["num_frames"]
    assert f"use {shorter} frames" in finding.fix
    assert check_memory(setting(shorter), free, where="GPU")[0].level is Level.NOTE
    assert check_memory(setting(shorter + 4), free, where="GPU")[0].level is Level.WARNING


def test_what_never_fits_offers_no_length():
    (finding,) = check_memory(setting(), 2 * GIGA, where="GPU")
    assert (finding.level, finding.settings) == (Level.WARNING, {})


def test_free_memory(monkeypatch, tmp_path):
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  4000 kB\nMemFree:  5 kB\nMemAvailable:   3000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", told)
    assert free_memory() == 3000 * 1024
    told.write_text("nothing of the kind")
    pages = {"SC_AVPHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory.os, "sysconf", pages.__getitem__, raising=False)
    monkeypatch.setattr(memory.os, "sysconf_names", pages, raising=False)
    assert free_memory() == 7 * 4096
    monkeypatch.setattr(memory.os, "sysconf_names", {})
    assert free_memory() is None


@pytest.mark.skipif(free_memory() is None, reason="the system does not say how much memory is free")
def test_free_memory_here():
    assert free_memory() > 1_000_000
