"""What must not leave the machine does not."""

from pathlib import Path

import pytest

from loom_core.doctor.privacy import Private, without_private

ALICE = Private(
    homes=("/home/" + "alice", "C:\\" + "Users\\alice"),
    users=("alice",),
    hosts=("alices-tower.lan", "alices-tower"),
    paths=("/data/Secret Film/gen model.safetensors", "D:" + "\\Secret Film\\clip.mp4", "clips/take 1.mp4"),
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("found no file /home/" + "alice/models/gen.pth; to fix", "found no file …/gen.pth; to fix"),
        ("in C:\\" + "Users\\alice\\models\\gen.pth", "in …/gen.pth"),
        ("in 'C:\\\\" + "Users\\\\alice\\\\models\\\\gen.pth'", "in '…/gen.pth'"),
        ("C:/" + "Users/alice/models/gen.pth", "…/gen.pth"),
        ("/data/Secret Film/gen model.safetensors, which is", "…/gen model.safetensors, which is"),
        ("no config.json in /data/Secret Film", "no config.json in …"),
        ("D:" + "\\Secret Film\\clip.mp4 of 9 s", "…/clip.mp4 of 9 s"),
        ("/mnt/" + "disk7/clients/acme/a.mp4", "…/a.mp4"),
        ("(/srv/" + "x/y)", "(…/y)"),
        ("\\\\nas\\films\\a.mp4", "…/a.mp4"),
        ("~/films/a.mp4", "…/a.mp4"),
        ("no file /mnt/" + "My Disk/acme film/a b.mp4; to fix", "no file …/a b.mp4; to fix"),
        ("clips/take 1.mp4 is short", "…/take 1.mp4 is short"),
        ("user Alice on ALICES-TOWER.lan", "user <user> on <host>"),
        ("alice_models", "<user>_models"),
        ("on alices-tower: out", "on <host>: out"),
    ],
)
def test_paths_and_names_are_cut(text, clean):
    assert without_private(text, ALICE) == clean


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.org/docs/page for more",
        "guidance 2.5 / 1.5 (text / visual)",
        "and/or 832x480, 24000/1001",
        "malice and alicex",
        "models/diffusion_models",
        "@Image 1 at 4k + 1",
        "shapes.mp4, 128x128, 33 frames at 24 a second",
    ],
)
def test_the_rest_stays(text):
    assert without_private(text, ALICE) == text


def test_what_is_private_here(monkeypatch, tmp_path):
    home = tmp_path / "carol"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("USERNAME", "carol-w")
    monkeypatch.setattr("platform.node", lambda: "studio-9.example.lan")
    monkeypatch.setattr("getpass.getuser", lambda: "cw")
    private = Private.of_this_machine([Path("~/a film/x.mp4")])
    text = f"{home}/a film/x.mp4 and {home}/other/y.png of carol, carol-w or cw on studio-9 (studio-9.example.lan)"
    clean = without_private(text, private)
    assert clean == "…/x.mp4 and …/y.png of <user>, <user> or <user> on <host> (<host>)"


def test_a_user_without_a_name(monkeypatch):
    def nobody():
        raise KeyError("uid 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert Private.of_this_machine().homes
