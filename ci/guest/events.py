# SPDX-License-Identifier: GPL-2.0-only
"""Why QEMU ended, in its own words: the SHUTDOWN event of its machine protocol (QMP), over two
named pipes. Its time stamps are the host's, so nothing of it is kept but the reason."""

import json
import os
from pathlib import Path

NAME = "qmp"
HELLO = b'{"execute": "qmp_capabilities"}\n'
MOST = 1 << 20  # bytes of events that are read; a guest has a few


class Events:
    """The pipes of one guest, ``NAME.in`` and ``NAME.out`` in its folder, as long as it runs."""

    def __init__(self, folder: Path) -> None:
        self.paths = folder / f"{NAME}.in", folder / f"{NAME}.out"
        self.ends: list[int] = []
        self.text = b""

    def __enter__(self) -> "Events":
        for path in self.paths:
            os.mkfifo(path)
        # Both ends of each are open here, so that neither QEMU nor we wait for the other.
        self.ends = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self.paths]
        os.write(self.ends[0], HELLO)
        return self

    def __exit__(self, *_: object) -> None:
        for end in self.ends:
            os.close(end)
        for path in self.paths:
            path.unlink()

    def drain(self) -> None:
        """Take what has come, so that the pipe never fills."""
        try:
            while len(self.text) < MOST and (got := os.read(self.ends[1], 65536)):
                self.text += got
        except BlockingIOError:
            pass

    def find_reason(self) -> str:
        """QEMU's reason for its end, such as ``guest-reset``; empty where it gave none, as when it
        was killed."""
        self.drain()
        for line in self.text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == "SHUTDOWN":
                return str(event.get("data", {}).get("reason", ""))
        return ""
