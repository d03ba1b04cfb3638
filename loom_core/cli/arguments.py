"""Argument parsing whose errors are one line, like all others."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ..errors import ConfigError
from ..geometry import check_size


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises where the standard one prints its whole usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"arguments that do not fit ({message})", fix=f"see {self.prog} --help")


def parse_size(text: str, *, example: str = "832x480") -> tuple[int, int]:
    """(width, height) of a text such as 832x480.

    Args:
        text: What was given with `--size`.
        example: A size that the command is usually given.

    Raises:
        ConfigError: It is none, or no multiples of 32.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"--size {text}", expected="width x height in pixels", fix=f"write it as {example}")
    check_size(int(width), int(height))
    return int(width), int(height)
