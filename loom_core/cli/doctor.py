"""`python -m loom_core.cli.doctor`: what is wrong, or will be, with the installation, the files and a request.

Takes the arguments of `cli.generate`; without any of them it looks at the installation alone. Nothing is loaded or run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.presets import get_preset
from ..errors import ConfigError, LoomError
from .arguments import Parser
from .exits import run
from .generate import add_arguments, check_places, find_files, to_compute_words, to_request

if TYPE_CHECKING:
    from ..bundle import ModelFiles
    from ..config.model import DiTConfig
    from ..doctor.finding import Finding, Settings
    from ..request import Plan

OWN = ("report", "json")
FLAGS = {"width": "--width", "height": "--height", "num_frames": "--frames", "fps": "--fps"}
"""Setting of a request -> argument."""
_PATHS = ("model", "mllm", "mllm_tokenizer", "mllm_config", "vae", "source", "output", "preview")
_OF_MODEL = ("model", "mllm", "mllm_tokenizer", "mllm_config", "vae", "no_ema")
_OF_COMPUTE = ("device", "dtype", "vae_dtype", "vae_tile", "mllm_device", "cache", "rope")
_TEXTS = ("prompt", "negative_prompt")
"""What a report gives the length of, and no word."""


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.doctor",
        description="Say what is wrong, or will be, before anything is loaded: the installation, and with the "
        "arguments of cli.generate also the files and the request. Ends with 0 if nothing stops the run.",
    )
    own = parser.add_argument_group("what is written")
    own.add_argument(
        "--report",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write a text for an issue, without private paths, to FILE or the terminal",
    )
    own.add_argument("--json", action="store_true", help="print JSON")
    add_arguments(parser, needed=False)
    return parser


def changed_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those that were given, by name."""
    defaults = vars(build_parser().parse_args([]))
    return {name: value for name, value in vars(arguments).items() if name not in OWN and value != defaults[name]}


def as_flags(settings: Settings) -> str:
    """Settings as arguments of `cli.generate`."""
    return " ".join(
        f"{FLAGS[name]} {value:g}" if isinstance(value, float) else f"{FLAGS[name]} {value}"
        for name, value in settings.items()
    )


def examine(arguments: argparse.Namespace) -> list[Finding]:
    """Everything that is to be said about what the arguments name, the request first."""
    from ..doctor.installation import installation_findings

    given = changed_arguments(arguments)
    findings: list[Finding] = []
    if given:
        files, config, about_files = _files(arguments, is_edit=arguments.source is not None)
        plan = None
        if set(given) - {*_OF_MODEL, *_OF_COMPUTE}:
            plan, findings = _request(arguments, config)
        findings += about_files
        if files is not None and config is not None:
            findings += _compute(arguments, plan, files, config)
    return findings + installation_findings()


def _files(
    arguments: argparse.Namespace, *, is_edit: bool
) -> tuple[ModelFiles | None, DiTConfig | None, list[Finding]]:
    """The model's three files; its sizes are known where the DiT is whole."""
    from ..doctor.files import MODEL, check_pair, look_at_dit, look_at_encoder, look_at_vae
    from ..doctor.finding import Finding

    files, findings = None, []
    try:
        files = find_files(arguments)
    except LoomError as error:
        findings.append(Finding.of_error(MODEL, error))
    dit, mllm, vae = (files.dit, files.mllm, files.codec) if files else (arguments.model, arguments.mllm, arguments.vae)
    config = sizes = None
    if dit is not None and dit.exists():
        look = look_at_dit(dit, ema=not arguments.no_ema, is_edit=is_edit)
        config = look.config
        findings += look.findings
    if mllm is not None and mllm.exists():
        seen = look_at_encoder(mllm, config=arguments.mllm_config, tokenizer=arguments.mllm_tokenizer)
        sizes = seen.sizes
        findings += seen.findings
    if vae is not None and vae.exists():
        findings += look_at_vae(vae)
    return files, config, findings + check_pair(config, sizes)


def _request(arguments: argparse.Namespace, config: DiTConfig | None) -> tuple[Plan | None, list[Finding]]:
    from ..bundle import default_preset_name
    from ..doctor.asked import request_findings
    from ..doctor.finding import Finding

    has_prompt = arguments.prompt is not None
    usual = "official" if config is None else default_preset_name(config)
    findings: list[Finding] = []
    try:
        preset = get_preset(arguments.preset or usual)
    except ConfigError as error:
        findings.append(Finding.of_error("preset", error))
        preset = get_preset(usual)
    request = to_request(argparse.Namespace(**{**vars(arguments), "prompt": arguments.prompt or ""}))
    more, plan = request_findings(request, preset, has_prompt=has_prompt, is_released=usual == "official")
    findings += more
    if arguments.compare and request.source is None:
        unfit = ConfigError("--compare without --source", expected="an edit", fix="leave --compare out")
        findings.append(Finding.of_error("request", unfit))
    if plan is not None and arguments.output is not None:
        try:
            check_places(plan, arguments)
        except LoomError as error:
            findings.append(Finding.of_error("output", error))
    return plan, findings


def _compute(arguments: argparse.Namespace, plan: Plan | None, files: ModelFiles, config: DiTConfig) -> list[Finding]:
    """Device and precisions, and with a plan the memory that it takes."""
    import torch

    from ..doctor.finding import Finding
    from ..doctor.memory import check_memory, free_memory
    from .compute import choose_compute
    from .fitting import setting_of

    try:
        words = to_compute_words(arguments)
        compute = replace(choose_compute(words, config), compiles=arguments.compile)
        if plan is None or files.is_built_in:  # which fits everywhere
            return []
        setting = setting_of(compute, words, plan, files, config=config)
    except LoomError as error:
        return [Finding.of_error("device", error)]
    is_cuda = compute.device.type == "cuda"
    free = torch.cuda.mem_get_info(compute.device)[0] if is_cuda else free_memory()
    return [] if free is None else check_memory(setting, free, where="GPU" if is_cuda else "machine")


def _facts(arguments: argparse.Namespace) -> list[str]:
    """What was asked, for a report: of texts no more than their length."""
    given = changed_arguments(arguments)
    words = [
        f"{name} of {len(value)} characters" if name in _TEXTS else f"{name} {_plain(value)}"
        for name, value in given.items()
    ]
    return [f"asked: {', '.join(words)}" if words else "asked: nothing, the installation alone"]


def _plain(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _private_paths(arguments: argparse.Namespace) -> list[Path]:
    named = [getattr(arguments, name) for name in _PATHS]
    return [Path.cwd(), Path(sys.prefix), *filter(None, named), *arguments.reference]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    from ..doctor.finding import count_words, exit_code_of
    from ..doctor.privacy import Private
    from ..doctor.report import lines_of, report

    findings = examine(arguments)
    if arguments.json:
        print(json.dumps({"findings": [finding.to_dict() for finding in findings]}, indent=1, ensure_ascii=False))
    elif arguments.report is None:
        print("\n".join([*lines_of(findings, flags=as_flags), count_words(findings)]))
    if arguments.report is not None:
        private = Private.of_this_machine(_private_paths(arguments))
        _write(report(findings, _facts(arguments), private=private), arguments.report)
    return exit_code_of(findings)


def _write(text: str, place: str) -> None:
    from ..atomic import atomic_target

    if place == "-":
        print(text)
        return
    with atomic_target(Path(place)) as part:
        part.write_text(text + "\n", encoding="utf-8")
    print(place)


if __name__ == "__main__":
    sys.exit(run(main))
