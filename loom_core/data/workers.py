"""What it means when a process that decodes is gone."""

from __future__ import annotations

from ..errors import ResourceError

_ENDED = ("exited unexpectedly", "is killed by signal")


def ended_worker(error: RuntimeError) -> ResourceError | None:
    """What torch's error means where it says that a worker was ended from outside; None for any other error.

    torch raises it wherever the main thread is, in a signal handler, as well as where a sample is waited for.
    """
    text = str(error)
    if "DataLoader worker" not in text or not any(part in text for part in _ENDED):
        return None
    return ResourceError(
        f"a decoding process that was ended from outside ({text.strip()})",
        expected="enough memory for all of them",
        fix="use fewer workers or a smaller prefetch",
    )
