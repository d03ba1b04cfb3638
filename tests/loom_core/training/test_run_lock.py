"""The lock of a run's folder, seen from other processes."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from loom_core.errors import OutputError
from loom_core.training import run_lock as subject
from loom_core.training.run_lock import RunLock

fork = multiprocessing.get_context("fork")


def try_to_take(run, pipe):
    try:
        RunLock(run)
    except OutputError as error:
        pipe.send(str(error))
    else:
        pipe.send("taken")


def answer_of_another_process(run):
    ours, theirs = fork.Pipe()
    other = fork.Process(target=try_to_take, args=(run, theirs))
    other.start()
    answer = ours.recv()
    other.join()
    return answer


def test_another_process_is_refused_until_it_is_released(tmp_path):
    lock = RunLock(tmp_path)
    assert f"another process trains (process {os.getpid()})" in answer_of_another_process(tmp_path)
    assert answer_of_another_process(tmp_path.parent) == "taken"
    lock.release()
    assert answer_of_another_process(tmp_path) == "taken"
    assert answer_of_another_process(tmp_path) == "taken", "the end of a process releases it"


def hold_and_fork(run, pipe):
    held = RunLock(run)
    child = os.fork()
    if child == 0:
        signal.pause()
    pipe.send(child)
    signal.pause()
    held.release()


def test_the_processes_of_a_killed_run_do_not_hold_it(tmp_path):
    ours, theirs = fork.Pipe()
    trainer = fork.Process(target=hold_and_fork, args=(tmp_path, theirs))
    trainer.start()
    child = ours.recv()
    try:
        assert "another process trains" in answer_of_another_process(tmp_path)
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.join()
        assert answer_of_another_process(tmp_path) == "taken"
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_trained_on_all_the_same(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(subject.fcntl, "lockf", unknown)
    RunLock(tmp_path).release()


@pytest.mark.parametrize("turns", [1, 2])
def test_it_can_be_released_more_than_once(tmp_path, turns):
    lock = RunLock(tmp_path)
    for _ in range(turns):
        lock.release()
    assert answer_of_another_process(tmp_path) == "taken"
