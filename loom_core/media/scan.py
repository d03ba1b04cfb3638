"""Reading when the frames of a video are due, from its packets alone: nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..geometry import NATIVE_FPS
from .source import (
    container_zero,
    load_av,
    no_frames,
    open_container,
    readable_packets,
    seconds,
    seek_seconds,
    starts_too_late,
    video_stream,
    warn_cut_off,
)
from .timeline import Timeline, build_timeline

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


_LEAST_MISSING = 2  # frames; times and lengths are rounded, so one may be missing only on paper


@dataclass(frozen=True)
class Scan:
    """What the packets tell of the part of a video that is needed.

    Args:
        timeline: The grid, from the first frame needed.
        first_frame: Number of the first frame needed, for a stream without time stamps; None when it has them.
        seeks: True when decoding may begin at the key frame before the start.
    """

    timeline: Timeline
    first_frame: int | None
    seeks: bool


@dataclass(frozen=True)
class _Stamps:
    """Presentation times of the packets read, in presentation order."""

    times: list[float]
    last_duration: float
    num_packets: int
    begins_at_key: bool
    is_timed: bool
    is_whole: bool


def scan_video(path: Path, *, start_seconds: float, end_seconds: float) -> Scan:
    """Find the frames between two times, counted from a player's 0:00.

    Raises:
        MediaError: The file cannot be read, holds no frame, or ends before `start_seconds`.
    """
    scan = _scan_from(path, start_seconds, end_seconds, seeks=True) if start_seconds > 0 else None
    scan = scan or _scan_from(path, start_seconds, end_seconds, seeks=False)
    if scan is None:
        raise starts_too_late(path, start_seconds)
    return scan


def _scan_from(path: Path, start_seconds: float, end_seconds: float, *, seeks: bool) -> Scan | None:
    """The scan; None when nothing lies at or after the start, or when seeking went past it."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        if seeks and not seek_seconds(container, start_seconds):
            return None
        average = float(stream.average_rate or 0) or None
        stamps = _read_stamps(container, stream, end_seconds)
        start = start_seconds + container_zero(container)
        promised_frames, promised_end = stream.frames, _promised_end(container, stream)
    if not stamps.num_packets:
        if seeks:
            return None
        raise no_frames(path)
    counts = promised_frames > 0 and not seeks
    if counts and stamps.is_whole and promised_frames > stamps.num_packets:
        warn_cut_off(path, f"{stamps.num_packets} of {promised_frames} frames are there")
    if not stamps.is_timed:
        return None if seeks else _untimed(stamps, average or NATIVE_FPS, start_seconds)

    half = 0.5 / (average or NATIVE_FPS)
    if seeks and (stamps.times[0] > start + half or not stamps.begins_at_key):
        return None
    wanted = [moment for moment in stamps.times if moment >= start - half] if start_seconds > 0 else stamps.times
    if not wanted and stamps.times[-1] + max(stamps.last_duration, 2 * half) <= start:
        return None
    if not wanted or (start_seconds > 0 and wanted[0] > start + half and stamps.times[0] < start):
        wanted = [start, *wanted]  # an earlier frame is still on the screen then
    if not counts and stamps.is_whole and promised_end is not None:
        found_end = stamps.times[-1] + max(stamps.last_duration, 2 * half)
        num_missing = round((promised_end - found_end) / (2 * half))
        if num_missing >= _LEAST_MISSING:
            warn_cut_off(path, f"{len(wanted)} of about {len(wanted) + num_missing} frames are there")
    timeline = build_timeline(wanted, average_fps=average, last_duration=stamps.last_duration, is_whole=stamps.is_whole)
    return Scan(timeline, None, seeks)


def _promised_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Presentation time, in seconds, at which the picture should end by what the file says; None if it does not say."""
    if stream.duration is not None:
        return seconds((stream.start_time or 0) + stream.duration, stream)
    if container.duration is not None and len(container.streams) == 1:  # else the sound may be what lasts so long
        return container_zero(container) + container.duration / load_av().time_base
    return None


def _read_stamps(container: InputContainer, stream: VideoStream, end_seconds: float) -> _Stamps:
    zero = container_zero(container)
    fps = float(stream.average_rate or NATIVE_FPS)
    times: list[float] = []
    last_time, last_duration = float("-inf"), 0.0
    num_packets, begins_at_key, is_timed, is_whole = 0, False, True, True
    for packet in readable_packets(container, stream):
        if not packet.size or packet.is_corrupt:  # the latter is left out when decoding too
            continue
        num_packets += 1
        begins_at_key = begins_at_key or (num_packets == 1 and packet.is_keyframe)
        if packet.is_discard:  # cut away by an edit list
            continue
        if packet.pts is None:
            is_timed = False
        else:
            times.append(seconds(packet.pts, stream))
            if times[-1] > last_time:
                last_time, last_duration = times[-1], seconds(packet.duration or 0, stream)
        # Decoding times run ahead of presentation times, never behind them.
        due = packet.dts if packet.dts is not None else packet.pts
        moment = seconds(due, stream) - zero if due is not None else num_packets / fps
        if moment > end_seconds:
            is_whole = False
            break
    return _Stamps(sorted(times), last_duration, num_packets, begins_at_key, is_timed and bool(times), is_whole)


def _untimed(stamps: _Stamps, fps: float, start_seconds: float) -> Scan | None:
    """Without time stamps (some avi files, raw streams) frames are counted, at the rate that the file states."""
    first = round(start_seconds * fps)
    if first >= stamps.num_packets:
        return None
    timeline = Timeline(fps, first / fps, stamps.num_packets - first, is_constant=True, is_whole=stamps.is_whole)
    return Scan(timeline, first, seeks=False)
