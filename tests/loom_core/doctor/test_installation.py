"""The machine and its packages; what is absent here is made to seem absent."""

from types import SimpleNamespace

import pytest

from loom_core.doctor import installation
from loom_core.doctor.finding import Level
from loom_core.doctor.installation import (
    OPTIONAL,
    REQUIRED,
    check_attention,
    check_built_in,
    check_device,
    check_package,
    check_packages,
    check_python,
    check_video,
    installation_findings,
    version_numbers,
)
from loom_core.errors import MissingExtraError, WeightsError
from loom_core.media import video_writer


def errors(findings):
    return [finding for finding in findings if finding.level is not Level.NOTE]


def test_packages_are_those_of_the_project(repo_root):
    tomllib = pytest.importorskip("tomllib", reason="new in Python 3.11")
    project = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [f"{name}>={oldest}" if oldest else name for name, oldest in REQUIRED.items()]
    assert sorted(named) == sorted(project["dependencies"])
    assert [f"{name}>={oldest}" for name, (oldest, _) in OPTIONAL.items()] == project["optional-dependencies"]["vae"]
    assert project["requires-python"] == ">=" + ".".join(map(str, installation.OLDEST_PYTHON))


def test_this_machine_runs_the_suite_so_nothing_stops_it():
    findings = installation_findings()
    assert [finding.sentence for finding in findings if finding.level is Level.ERROR] == []
    checks = {finding.check for finding in findings}
    assert checks == {"python", "packages", "video", "device", "attention", "built-in"}


def test_packages_that_are_absent_or_old(monkeypatch):
    versions = {"torch": "2.3.1+cu118", "av": None, "pillow": "10.1.0", "diffusers": None}
    monkeypatch.setattr(installation, "installed", versions.get)
    torch, av, pillow = (check_package(name, REQUIRED[name]) for name in ("torch", "av", "pillow"))
    diffusers = check_packages()[-1]
    assert (torch.level, torch.command, torch.exit_code) == (Level.ERROR, "pip install 'torch>=2.4'", 5)
    assert torch.sentence == "found torch 2.3.1+cu118; expected 2.4 or newer; to fix: pip install 'torch>=2.4'"
    assert (av.level, av.command) == (Level.ERROR, "pip install 'av>=12'")
    assert pillow.level is Level.NOTE
    assert (diffusers.level, diffusers.expected) == (Level.WARNING, "it to be installed for the Wan 2.2 VAE")


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("10.1", (10, 1)), ("2.4.0a0+git1", (2, 4, 0)), ("", ())]
)
def test_versions(version, numbers):
    assert version_numbers(version) == numbers


def test_python():
    assert check_python((3, 9, 18)).level is Level.ERROR
    assert check_python((3, 10, 0)).level is Level.NOTE


def test_video_without_pyav(monkeypatch):
    def absent():
        raise MissingExtraError("av", "video")

    monkeypatch.setattr(installation, "load_av", absent)
    (finding,) = check_video()
    assert (finding.level, finding.command) == (Level.ERROR, "pip install av")


def test_video_without_the_best_encoder(monkeypatch):
    monkeypatch.setattr(video_writer, "_can_encode", lambda name: name not in ("libx264", "libvpx-vp9", "libvpx"))
    found = {finding.found: finding.level for finding in errors(check_video())}
    assert found["mpeg4 for .mp4, whose files grow larger"] is Level.WARNING
    assert any("without an encoder for webm" in words for words in found)


def test_a_gpu_that_is_left_unused(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(installation, "has_nvidia_driver", lambda: True)
    assert check_device().level is Level.WARNING
    monkeypatch.setattr(installation, "has_nvidia_driver", lambda: False)
    assert check_device().found.startswith("no GPU")


def test_a_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (6 * 10**9, 24 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 9000")
    assert check_device().found == "GPU Card 9000, 6.00 GB of 24.00 GB free"


def test_attention_without_a_fused_kernel(monkeypatch):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    monkeypatch.setattr(installation, "installed", {}.get)
    assert check_attention().level is Level.NOTE
    with sdpa_kernel(SDPBackend.MATH):
        finding = check_attention()
    assert (finding.level, finding.found) == (
        Level.WARNING,
        "torch's scaled_dot_product_attention with the kernels math; of packages that --attention takes none, and none "
        "is needed",
    )


def test_packages_for_attention_are_told(monkeypatch):
    monkeypatch.setattr(installation, "installed", {"sageattention": "2.2.0"}.get)
    assert check_attention().found.endswith("; of packages that --attention takes sageattention 2.2.0")


def test_a_damaged_built_in_model(monkeypatch):
    def damaged():
        raise WeightsError("dit.safetensors, cut off", fix="install again")

    assert check_built_in().level is Level.NOTE
    monkeypatch.setattr(installation, "find_model", lambda: SimpleNamespace(check=damaged))
    assert (check_built_in().level, check_built_in().exit_code) == (Level.ERROR, 3)
