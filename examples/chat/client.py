"""A client: the lines that come from it, and what waits until it takes it."""

import socket
from typing import TYPE_CHECKING

from pollster import Event, Interest

if TYPE_CHECKING:
    from chat import Chat

LONGEST = 1024  # bytes of a line
ROOM = 1 << 16  # bytes that the kernel keeps
BOTH = Interest.READABLE | Interest.WRITABLE
HELP = b"* /name NAME, /who, /quit\n"


def printable(line: bytes) -> str:
    """Returns what can be shown: nobody is to move the cursor of somebody else's terminal."""
    text = line.decode("utf-8", "replace").strip()
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class Client:
    """Somebody who is there, under a name; the first one is made of the place of the token."""

    def __init__(self, chat: "Chat", accepted: socket.socket) -> None:
        accepted.setblocking(False)
        # By itself the kernel would keep megabytes for each who reads nothing.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        self._chat, self.socket = chat, accepted
        self._line = b""  # of which the end has not come
        self._waiting: list[bytes] = []
        self._size = 0  # bytes of that
        self._interest = Interest.READABLE
        self.token = chat.clients.insert(self)
        self.name = self._free(f"guest-{self.token & 0xFFFF_FFFF}")
        chat.names.add(self.name)
        chat.poll.registry.register(accepted, self.token, self._interest)

    def _free(self, wanted: str) -> str:
        while wanted in self._chat.names:
            wanted += "_"
        return wanted

    def hear(self, line: bytes) -> None:
        """Has a line sent at the end of this turn, together with the others of this turn."""
        self._waiting.append(line)
        self._size += len(line)
        self._chat.unsent.add(self)

    def send(self) -> None:
        """Sends what waits; who lets too much wait is let go."""
        left = b"".join(self._waiting)
        try:
            left = left[self.socket.send(left) :]
        except BlockingIOError:
            pass  # it has room for nothing
        except OSError:
            self._chat.leave(self, "has left")
            return
        self._waiting, self._size = [left] if left else [], len(left)
        if self._size > self._chat.limit:
            self._chat.leave(self, "does not keep up")
            return
        interest = BOTH if left else Interest.READABLE
        if interest is not self._interest:
            self._chat.poll.registry.reregister(self.socket, self.token, interest)
            self._interest = interest

    def ready(self, event: Event) -> None:
        """Takes lines, and sends."""
        if event.is_writable and self._waiting:
            self._chat.unsent.add(self)
        if not event.is_readable and not event.is_read_closed:
            return
        try:
            data = self.socket.recv(4 * LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.strip() == b"/quit":
                data = b""
                break
            self._take(line)
        if len(self._line) > LONGEST:
            self._chat.leave(self, "says too much at once")
        elif not data:
            self._chat.leave(self, "has left")

    def _take(self, line: bytes) -> None:
        text = printable(line[:LONGEST])
        command, _, wanted = text.partition(" ")
        if command == "/name" and wanted:
            name = self._free(wanted[:32].replace(" ", "_"))
            self._chat.names.remove(self.name)
            self._chat.names.add(name)
            self._chat.say(f"* {self.name} is {name} now")
            self.name = name
        elif command == "/who":
            self.hear(f"* {', '.join(sorted(self._chat.names))}\n".encode())
        elif command.startswith("/"):
            self.hear(HELP)
        elif text:
            self._chat.say(f"{self.name}: {text}")
