"""A real ComfyUI in folders of its own, and what one prompt did in it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACK_FOLDER = "comfyui-loomvideo"
START_SECONDS = 180
PROMPT_SECONDS = 300

Prompt = Mapping[str, Any]
Event = tuple[str, Mapping[str, Any]]


@dataclass
class Run:
    """What the server told about one prompt.

    Args:
        status: "success", "error", "interrupted", or "rejected" before it began.
        events: (type, data) of every message of the websocket, in order.
        previews: Sizes in bytes of the preview pictures.
        outputs: What nodes showed or saved, by id.
        error: Of a failed prompt: node_id, node_type, exception_type, exception_message; of a rejected one the answer.
    """

    status: str = ""
    events: list[Event] = field(default_factory=list)
    previews: list[int] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def executed(self) -> list[str]:
        """Ids of the nodes that ran, in order; those taken from the cache are not among them."""
        return [data["node"] for kind, data in self.events if kind == "executing" and data.get("node")]

    @property
    def message(self) -> str:
        """What the failed node says."""
        return str(self.error.get("exception_message", self.error)).strip()

    def texts(self, node: str) -> list[str]:
        """Lines that a node showed while it ran."""
        return [data["text"] for kind, data in self.events if kind == "text" and data["node"] == node]

    def reports(self, node: str) -> list[dict[str, Any]]:
        """What a node told the panel of a run."""
        return [data for kind, data in self.events if kind == "loomvideo.progress" and data["node"] == node]


class Server:
    """A ComfyUI that runs with this pack.

    Args:
        checkout: Folder of ComfyUI.
        python: Its interpreter.
        base: Folder for models, inputs, outputs and the user's files; made anew.
        flags: More of its command line.
        packs: Folders of other node packs to load, by name.
    """

    def __init__(
        self,
        checkout: Path,
        python: str,
        base: Path,
        *,
        flags: tuple[str, ...] = (),
        packs: Mapping[str, Path] | None = None,
    ) -> None:
        self.base = base
        self.log = base / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        for folder in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        for name, folder in {PACK_FOLDER: ROOT, **(packs or {})}.items():
            (base / "custom_nodes" / name).symlink_to(folder, target_is_directory=True)
        command = [
            python, str(checkout / "main.py"), "--cpu", "--listen", "127.0.0.1", "--port", str(self.port),
            "--base-directory", str(base), "--temp-directory", str(base), "--disable-auto-launch",
            "--disable-api-nodes", "--preview-method", "latent2rgb", "--database-url", "sqlite:///:memory:", *flags,
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def wait(self) -> Server:
        """Wait until it answers."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI did not start:\n{self.tail()}")
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise RuntimeError(f"ComfyUI did not answer within {START_SECONDS} s:\n{self.tail()}")

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def tail(self, lines: int = 60) -> str:
        """The end of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.loads(answer.read())

    def fetch(self, path: str) -> bytes:
        """The bytes at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """Send JSON; the JSON that comes back, or None for nothing."""
        data = json.dumps(content or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def interrupt(self) -> None:
        """Stop what runs."""
        self.post("/interrupt")

    def run(self, prompt: Prompt, *, on_event: Callable[[str, Mapping[str, Any]], None] | None = None) -> Run:
        """Queue a prompt and follow it to its end.

        Args:
            prompt: In the form of the HTTP interface.
            on_event: Told of every message, to interrupt at a certain one.
        """
        from websockets.sync.client import connect

        client, run = uuid.uuid4().hex, Run()
        address = f"ws://127.0.0.1:{self.port}/ws?clientId={client}"
        with connect(address, max_size=None, open_timeout=60, ping_interval=None) as socket_:
            try:
                number = self.post("/prompt", {"prompt": prompt, "client_id": client})["prompt_id"]
            except urllib.error.HTTPError as error:
                run.status, run.error = "rejected", json.loads(error.read())
                return run
            end = time.monotonic() + PROMPT_SECONDS
            while not run.status:
                message = socket_.recv(timeout=max(0.0, end - time.monotonic()))
                if isinstance(message, bytes):
                    self._binary(message, run, on_event)
                    continue
                event = json.loads(message)
                self._event(event["type"], event.get("data", {}), run, number)
                if on_event is not None:
                    on_event(event["type"], event.get("data", {}))
        return run

    @staticmethod
    def _binary(message: bytes, run: Run, on_event: Callable[[str, Mapping[str, Any]], None] | None) -> None:
        kind = int.from_bytes(message[:4], "big")
        if kind == 3:  # text: length of the node's id, the id, the line
            length = int.from_bytes(message[4:8], "big")
            data = {"node": message[8 : 8 + length].decode(), "text": message[8 + length :].decode()}
            run.events.append(("text", data))
            if on_event is not None:
                on_event("text", data)
        else:
            run.previews.append(len(message))

    @staticmethod
    def _event(kind: str, data: Mapping[str, Any], run: Run, number: str) -> None:
        run.events.append((kind, data))
        if kind == "executed":
            run.outputs[data["node"]] = data["output"]
        if data.get("prompt_id") == number and kind.startswith("execution_"):
            ending = kind.removeprefix("execution_")
            if ending in ("success", "error", "interrupted"):
                run.status, run.error = ending, dict(data) if ending == "error" else {}

    def saved(self, run: Run) -> list[Path]:
        """Files that a prompt saved, in the order of its nodes."""
        files = []
        for output in run.outputs.values():
            for entries in output.values():
                for entry in entries if isinstance(entries, list) else ():
                    if isinstance(entry, dict) and entry.get("type") == "output":
                        files.append(self.base / "output" / entry.get("subfolder", "") / entry["filename"])
        return files


def checkout_and_python() -> tuple[Path, str] | str:
    """ComfyUI's folder and its interpreter, or why there is none."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        return "needs a ComfyUI checkout: set COMFYUI_PATH (and COMFYUI_PYTHON)"
    if not Path(checkout, "main.py").is_file():
        return f"COMFYUI_PATH ({checkout}) is no ComfyUI checkout"
    return Path(checkout).resolve(), os.environ.get("COMFYUI_PYTHON", sys.executable)
