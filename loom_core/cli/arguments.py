"""Argument parsing whose errors are one line, like all others."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ..errors import ConfigError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises where the standard one prints its whole usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"arguments that do not fit ({message})", fix=f"see {self.prog} --help")
