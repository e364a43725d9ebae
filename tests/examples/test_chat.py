"""examples/chat, by nc and socat, by clients that do not read, and by thousands of them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import (
    PATIENCE,
    Served,
    connect,
    connected,
    descriptors_for,
    needs,
    needs_prlimit,
    reset,
)

Start = Callable[..., Served]


@pytest.fixture
def start(queue: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a chat on a back end, which listens at the Unix socket `chat`, too."""
    with contextlib.ExitStack() as running:

        def start(
            *options: object, before: tuple[str, ...] = (), stdin: int = subprocess.DEVNULL
        ) -> Served:
            arguments = ("--port", 0, "--unix", tmp_path / "chat", *options)
            return running.enter_context(
                Served("chat", queue, *arguments, before=before, stdin=stdin)
            )

        yield start


class Guest:
    """A client, and what was said to it."""

    def __init__(self, chat: Served) -> None:
        self.socket = connect(chat.address)
        self._reader = self.socket.makefile("rb")
        self.name = re.fullmatch(r"\* (\S+) is here", self.hear())[1]  # type: ignore[index]

    def say(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\n")

    def hear(self) -> str:
        """Waits for the next line; "" at the end."""
        return self._reader.readline().decode().rstrip("\n")

    def hear_until(self, line: str) -> None:
        while (heard := self.hear()) != line:
            assert heard, f"the chat ended without {line!r}"

    def close(self) -> None:
        self._reader.close()
        reset(self.socket)


class TestTalking:
    def test_what_one_says_all_hear(self, start: Start) -> None:
        chat = start()
        guests = [Guest(chat) for _ in range(3)]
        for guest in guests[:2]:
            guest.hear_until("* guest-2 is here")
        for guest in guests:
            guest.say("hello")
            for other in guests:
                other.hear_until(f"{guest.name}: hello")
        chat.stop()
        for guest in guests:
            guest.hear_until("* the chat ends")
            assert guest.hear() == ""
            guest.close()

    def test_names(self, start: Start) -> None:
        chat = start()
        one, two = Guest(chat), Guest(chat)
        one.hear_until("* guest-1 is here")
        for guest, command, answer in (
            (one, "/name ann b", "* guest-0 is ann_b now"),
            (two, "/name ann_b", "* guest-1 is ann_b_ now"),
            (two, "/name", "* /name NAME, /who, /quit"),
            (two, "/name operator", "* ann_b_ is operator_ now"),
            (two, "/who", "* ann_b, operator, operator_"),
        ):
            guest.say(command)
            guest.hear_until(answer)
        one.say("/quit")
        two.hear_until("* ann_b has left")
        three = Guest(chat)
        assert three.name == "guest-0"  # its place is free again
        two.socket.shutdown(socket.SHUT_WR)
        three.hear_until("* operator_ has left")
        for guest in (one, two, three):
            guest.close()
        chat.wait_for_connections(0)
        chat.stop()

    def test_lines_are_taken_as_they_come_and_made_harmless(self, start: Start) -> None:
        guest = Guest(start())
        for part in (b"a", b"b\nc", b"\r\n\n \n", b"\x1b[2J\xff\x00\xe2\x82\xac\n"):
            guest.socket.sendall(part)
        assert [guest.hear() for _ in range(3)] == [
            "guest-0: ab",
            "guest-0: c",
            "guest-0: ?[2J\N{REPLACEMENT CHARACTER}?\N{EURO SIGN}",
        ]
        guest.close()

    def test_a_line_without_an_end_is_too_much(self, start: Start) -> None:
        chat = start()
        one, two = Guest(chat), Guest(chat)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                one.socket.sendall(b"x" * 1000)
        two.hear_until("* guest-0 says too much at once")
        one.close()
        two.close()

    def test_the_operator_is_a_thread(self, start: Start) -> None:
        chat = start(stdin=subprocess.PIPE)
        guests = [Guest(chat) for _ in range(3)]
        for number in range(100):
            chat.type(f"{number}\n")
        for guest in guests:
            # What was typed at once may come as one.
            heard = ""
            while not heard.endswith("99"):
                line = guest.hear()
                assert line
                heard += line.removeprefix("operator: ") if line.startswith("operator") else ""
            guest.close()
        chat.stop()

    def test_an_operator_without_end_keeps_nobody_waiting(self, start: Start) -> None:
        with open("/dev/zero", "rb") as zeros:
            chat = start(stdin=zeros.fileno())
        guest = Guest(chat)
        guest.hear_until("operator: " + "?" * 1024)
        guest.close()
        chat.wait_for_connections(0)
        chat.stop()


class TestPrograms:
    @needs("nc", "socat")
    def test_nc_and_socat_talk_over_two_listeners(self, start: Start, tmp_path: Path) -> None:
        chat = start()
        programs = (
            ["nc", "127.0.0.1", str(chat.address[1])],
            ["socat", "-", f"UNIX-CONNECT:{tmp_path / 'chat'}"],
        )
        with contextlib.ExitStack() as stack:
            running = []
            for command in programs:
                program = stack.enter_context(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                )
                stack.callback(program.kill)
                assert program.stdout
                assert b"is here" in program.stdout.readline()
                running.append(program)
            for number, program in enumerate(running):
                assert program.stdin
                program.stdin.write(b"hello\n")
                program.stdin.flush()
                for other in running:
                    assert other.stdout
                    while (line := other.stdout.readline()) != b"guest-%d: hello\n" % number:
                        assert line
            chat.stop()
        assert not (tmp_path / "chat").exists()


class TestMany:
    def test_thousands_hear_all_in_its_order(self, start: Start, queue: str) -> None:
        with descriptors_for(2000 if queue == "epoll" else 500) as number:
            chat = start("--limit", 10_000_000)
            with connected(chat, number) as clients:
                for text in (b"one", b"two", b"three"):
                    clients[-1].sendall(text + b"\n")
                said = b"".join(
                    b"guest-%d: %s\n" % (number - 1, text) for text in (b"one", b"two", b"three")
                )
                for client in clients:
                    heard = b""
                    while not heard.endswith(said):
                        heard = heard[-200:] + (data := client.recv(65536))
                        assert data
            chat.wait_for_connections(0)
            chat.stop()

    def test_who_does_not_keep_up_is_let_go_and_nobody_waits(self, start: Start) -> None:
        chat = start()
        slow, speaker = Guest(chat), Guest(chat)
        deadline = time.monotonic() + PATIENCE
        line = ""
        while line != "* guest-0 does not keep up":
            assert time.monotonic() < deadline
            for _ in range(50):
                speaker.say("x" * 1000)
            for _ in range(50):
                line = speaker.hear()
                if "keep up" in line:
                    break
        chat.wait_for_connections(1)
        speaker.close()
        slow.close()

    def test_more_clients_than_descriptors(self, start: Start) -> None:
        chat = start(before=("sh", "-c", 'ulimit -n 44; exec "$@"', "sh"))  # for 12 of them
        clients = [connect(chat.address) for _ in range(40)]
        chat.wait_for_connections(12)
        before = chat.figures()
        for _ in range(50):
            now = chat.figures()
        assert now["polls"] - before["polls"] <= 50
        for client in clients:
            assert b"is here" in client.recv(100)
            reset(client)
        chat.wait_for_connections(0)
        chat.stop()

    @needs_prlimit
    def test_it_sleeps_where_others_have_all_descriptors(self, start: Start) -> None:
        chat = start()
        with chat.connect_without_descriptors() as client:
            assert client.recv(100) == b"* guest-0 is here\n"
        chat.wait_for_connections(0)
        chat.stop()

    def test_who_resets_leaves_nothing(self, start: Start) -> None:
        chat = start()
        stays = Guest(chat)
        before = chat.descriptors()
        for _ in range(20):
            Guest(chat).close()
        chat.wait_for_connections(1)
        if before is not None:
            assert chat.descriptors() == before
        os.kill(chat.pid, signal.SIGINT)
        stays.hear_until("* the chat ends")
        stays.close()
        chat.expect_end()
