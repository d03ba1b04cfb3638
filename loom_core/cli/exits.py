"""How every command ends: one line on stderr and an exit code that a shell script can use.

Codes: 0 done, 1 a bug (with its traceback), 2 a wrong request, 3 weights, 4 a media file, or a place that cannot be
written to, 5 a missing package, 6 memory or disk, 7 a training run that cannot go on, 8 another process of the run that
ended, 130 stopped by the user (see `errors.py`), 143 a training run stopped by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from ..atomic import DISK_FULL
from ..errors import CancelledError, LoomError, ResourceError

DONE = 0
BUG = 1
BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell reports for a command whose reader went away (`inspect FILE | head`)."""


def code_of_signal(number: int) -> int:
    """What a shell reports for a command that a signal ended, in order or not: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def run(main_function: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """Run a command and turn how it ended into an exit code.

    Args:
        main_function: Takes the arguments without the program's name; returns an exit code, or None for success.
        argv: Those arguments; None takes the process's own.

    Returns:
        The exit code, for `sys.exit`.
    """
    try:
        return main_function(sys.argv[1:] if argv is None else argv) or DONE
    except SystemExit as stop:  # argparse has already printed its message
        return _code_of(stop)
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        return _report(error)


def as_resource_error(error: BaseException) -> ResourceError | None:
    """The ResourceError that an exception of Python, the system or torch stands for; None when it is another fault."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return ResourceError(
            f"no space left on the disk ({error.filename or 'while writing'})",
            expected="room for the whole output",
            fix="free some space or write to another disk",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return _out_of_memory("the system")
    if isinstance(error, MemoryError):
        return _out_of_memory("Python")
    # torch reports a failed allocation as a RuntimeError: a subclass of this name on a GPU, a plain one on the CPU.
    # Compared by name and text, so that a command which never needed torch does not import it to fail.
    if type(error).__name__ == "OutOfMemoryError":
        return _out_of_memory("the GPU")
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        return _out_of_memory("torch on the CPU")
    return None


def _out_of_memory(where: str) -> ResourceError:
    return ResourceError(
        f"{where} out of memory",
        expected="enough memory for this size",
        fix="use fewer frames, a smaller size or a smaller dtype, or close other programs",
    )


def _report(error: BaseException) -> int:
    """Say on stderr what went wrong: a line for what a user can put right, a traceback for a fault of ours."""
    if isinstance(error, KeyboardInterrupt):
        error = CancelledError("an interrupt", fix="start the command again; what was not finished was not written")
    elif not isinstance(error, LoomError):
        error = as_resource_error(error) or error
    if isinstance(error, LoomError):
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    traceback.print_exception(error)
    return BUG


def _code_of(stop: SystemExit) -> int:
    if stop.code is None:
        return DONE
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)
    return BUG


def _silence_stdout() -> None:
    """Point stdout at nothing, or Python complains once more when it flushes at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
