"""Cases about descriptors other than connected stream sockets, and about becoming connected."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import tempfile
import termios

from linux_kqueue import Filter
from replay import Replay
from scenario import entry, replays

READ, WRITE = Filter.READ, Filter.WRITE
REFUSED = "Connection refused"
PIPE_SIZE = "a Linux pipe has room for 65536 bytes, in pages"
PAGE = "a Linux pipe has room again when a whole page of it is free, not PIPE_BUF bytes"
SYNCHRONOUS = "FreeBSD with one CPU finishes a loopback connect at once"
BACKLOG = "in place of the sysctl, a full listen queue holds the connection up"


def pipe(r: Replay) -> tuple[int, int]:
    """Returns a non-blocking pipe's two ends."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    return r.keep_fd(read_end), r.keep_fd(write_end)


def fill_pipe(fd: int) -> None:
    """Writes until the pipe takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4096))


def tcp_socket(r: Replay, recorded: int) -> socket.socket:
    """Returns a fresh non-blocking TCP socket, bound to the recorded number."""
    sock = r.keep(socket.socket())
    sock.setblocking(False)
    r.bind(recorded, sock)
    return sock


def refusing_address() -> tuple[str, int]:
    """Returns a loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
    return address


@replays("pipe")
def pipes(r: Replay) -> None:
    """WRITE is off while the pipe is full; EOF comes with the unread bytes."""
    read_end, write_end = pipe(r)
    r.bind(4, read_end)
    r.bind(5, write_end)
    r.change(1, 2)
    r.wait("idle")
    os.write(write_end, b"12345")
    r.wait("5 written")
    fill_pipe(write_end)
    r.passes("filled", because=PIPE_SIZE)
    r.wait("full", sizes=PIPE_SIZE)
    os.read(read_end, 1)
    r.wait("1 byte read (room < PIPE_BUF)", sizes=PIPE_SIZE)
    os.read(read_end, 4096)
    r.wait("512 read", sizes=PAGE)
    os.read(read_end, 1 << 20)
    r.passes("drained", because=PIPE_SIZE)
    r.wait("drained")
    os.write(write_end, b"12")
    os.close(write_end)
    r.wait("writer closed with 2 unread")
    os.read(read_end, 2)
    r.wait("drained")


@replays("pipe: reader closed")
def reader_closed(r: Replay) -> None:
    """The writer's EOF comes once and takes the knote along."""
    read_end, write_end = pipe(r)
    r.bind(5, write_end)
    r.change(2)
    r.wait("idle")
    os.close(read_end)
    r.wait("reader closed")
    try:
        text = f"write={os.write(write_end, b'1')}"
    except BrokenPipeError as error:
        text = f"write=-1 {error.strerror}"
    r.saw(text)
    r.wait("after EPIPE")


@replays("pipe: reader closed while pipe full, EV_CLEAR")
def reader_closed_full(r: Replay) -> None:
    """Also when the pipe was full."""
    read_end, write_end = pipe(r)
    r.bind(5, write_end)
    r.change(2)
    fill_pipe(write_end)
    r.wait("full")
    os.close(read_end)
    r.wait("reader closed")
    r.wait("again")


@replays("pipe: add WRITE after reader already closed; READ after writer already closed")
def add_to_broken_pipe(r: Replay) -> None:
    """EPIPE for the writer, EOF for the reader."""
    read_end, write_end = pipe(r)
    os.close(read_end)
    r.bind(5, write_end)
    r.change(2)
    r.wait("w")
    read_end, write_end = pipe(r)
    os.close(write_end)
    r.bind(4, read_end)
    r.change(1)
    r.wait("r")


@replays("pipe: WRITE filter on the read end, READ on the write end")
def wrong_ends(r: Replay) -> None:
    """The wrong filter is accepted."""
    read_end, write_end = pipe(r)
    r.bind(4, read_end)
    r.bind(5, write_end)
    r.change(3, 4)
    r.wait("x")


@replays("FIFO (mkfifo) reader: writer comes, writes, goes, second writer comes")
def fifo(r: Replay) -> None:
    """A second writer takes the EOF back."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "fifo")
        os.mkfifo(path)
        reader = r.keep_fd(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        r.bind(1008, reader)
        r.change(1)
        r.wait("no writer ever")
        writer = r.keep_fd(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        r.wait("writer opened")
        os.write(writer, b"1")
        r.wait("1 byte")
        os.read(reader, 1)
        os.close(writer)
        r.wait("writer closed")
        r.wait("again")
        writer = r.keep_fd(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        r.wait("2nd writer opened")
        os.write(writer, b"1")
        r.wait("wrote")


@replays("pseudo-terminal")
def terminal(r: Replay) -> None:
    """Both sides report bytes; the slave's close ends the master."""
    master, slave = map(r.keep_fd, pty.openpty())
    r.passes("master=", because="numbers of descriptors")
    r.bind(1008, master)
    r.bind(1009, slave)
    r.change(1, 2, 3)
    r.wait("idle")
    os.write(slave, b"12345")
    r.wait("slave wrote")
    os.read(master, 5)
    os.write(master, b"12\n")
    r.wait("master wrote")
    os.read(master, 4)
    termios.tcflush(slave, termios.TCIFLUSH)
    os.close(slave)
    r.wait("slave closed")


@replays("listening TCP")
def listener(r: Replay) -> None:
    """The backlog is the listener's data."""
    ours = r.keep(socket.create_server(("127.0.0.1", 0)))
    r.bind(4, ours)
    address = ours.getsockname()

    def connect() -> None:
        r.keep(socket.create_connection(address))

    r.change(1)
    r.wait("idle")
    connect()
    connect()
    r.wait("2 pending")
    r.keep(ours.accept()[0])
    r.wait("1 accepted")
    r.keep(ours.accept()[0])
    r.wait("both accepted")
    r.change(2)
    r.wait("WRITE on listener")
    r.delete(ours, READ)
    r.change(1)
    connect()
    r.wait("EV_CLEAR 1 pending")
    r.wait("not accepted")
    connect()
    r.wait("second came")
    ours.shutdown(socket.SHUT_RDWR)
    r.wait("shutdown(listener)", sizes="Linux forgets the backlog of a listener which is shut down")


@replays("non-blocking connect, success")
def connect_success(r: Replay) -> None:
    """A connection is one WRITE event."""
    server = r.keep(socket.create_server(("127.0.0.1", 0)))
    ours = tcp_socket(r, 5)
    r.change(2, 1)
    r.wait("fresh unconnected socket")
    ours.connect_ex(server.getsockname())
    r.passes("connect=0", because=SYNCHRONOUS)
    r.wait("after connect")
    r.so_error(ours)


@replays("non-blocking connect, refused (registered before connect, EV_CLEAR)")
def refused_edge(r: Replay) -> None:
    """A refusal ends both filters, once."""
    ours = tcp_socket(r, 4)
    r.change(2, 1)
    r.wait("fresh")
    ours.connect_ex(refusing_address())
    r.passes("connect=-1", because=SYNCHRONOUS)
    pending = [
        entry("READ", 4, "CLEAR|EOF", 1, error=REFUSED),
        entry("WRITE", 4, "CLEAR|EOF", 2, error=REFUSED),
    ]
    r.wait("after connect", linux=pending, because=SYNCHRONOUS)
    r.wait("again")
    r.so_error(ours, linux=REFUSED, because=SYNCHRONOUS)
    r.wait("after SO_ERROR")


@replays("non-blocking connect, refused (registered after connect, level)")
def refused_level(r: Replay) -> None:
    """A refusal ends both filters, also of one registered later."""
    ours = tcp_socket(r, 4)
    ours.connect_ex(refusing_address())
    r.passes("connect=-1", because=SYNCHRONOUS)
    r.change(2, 1)
    pending = [
        entry("READ", 4, "EOF", 1, error=REFUSED),
        entry("WRITE", 4, "EOF", 2, error=REFUSED),
    ]
    r.wait("after connect", linux=pending, because=SYNCHRONOUS)
    r.so_error(ours, linux=REFUSED, because=SYNCHRONOUS)
    r.wait("after SO_ERROR")


def held_up_connection(r: Replay) -> tuple[socket.socket, socket.socket]:
    """Starts a connection to a listener whose queue is full; returns ours and the listener."""
    server = r.keep(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    r.keep(socket.create_connection(server.getsockname()))
    ours = tcp_socket(r, 6)
    error = ours.connect_ex(server.getsockname())
    r.saw(f"connect={-1 if error else 0} {os.strerror(error)}")
    return ours, server


def still_connecting(r: Replay, ours: socket.socket, server: socket.socket) -> None:
    """Replays what calls on a connecting socket say."""
    error = ours.connect_ex(server.getsockname())
    r.saw(f"connect again={-1 if error else 0} {os.strerror(error)}")
    r.recv(ours)
    r.send(
        ours,
        linux="send=-1 errno=Resource temporarily unavailable",
        because="tcp_sendmsg() waits for the connection",
    )


@replays("async connect: blackholed, then refused")
def held_up_then_refused(r: Replay) -> None:
    """No event while connecting; then both filters end."""
    for _ in range(3):
        r.passes("sysctl", because=BACKLOG)
    for first in (True, False):
        if not first:
            r.fresh_queue()
            r.passes("sysctl", because=BACKLOG)
        ours, server = held_up_connection(r)
        r.change(2, 1)
        r.wait("in progress")
        still_connecting(r, ours, server)
        server.close()
        r.passes("sysctl", because=BACKLOG)
        r.wait("up to 5 s")
        r.wait("again")
        r.so_error(ours)
        r.wait("after SO_ERROR")


@replays("async connect: blackholed, then accepted")
def held_up_then_accepted(r: Replay) -> None:
    """No event while connecting; then one WRITE."""
    ours, server = held_up_connection(r)
    r.change(2, 1)
    r.wait("in progress")
    r.keep(server.accept()[0])
    r.passes("bind=0", because=BACKLOG)
    r.wait("up to 5 s")
    r.so_error(ours)
    r.wait("again")


@replays("UDP")
def udp(r: Replay) -> None:
    """An empty datagram is an event, and so is an ICMP error, without EOF."""
    ours, peer = (r.keep(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2))
    ours.bind(("127.0.0.1", 0))
    peer.connect(ours.getsockname())
    r.bind(4, ours)
    r.change(1, 2)
    r.wait("idle")
    peer.send(b"12345")
    peer.send(b"")
    r.wait("5-byte then 0-byte datagram")
    r.recv(ours)
    r.wait("5 read, 0-byte left")
    r.recv(ours)
    r.wait("both read")
    r.fresh_queue()
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    lonely = r.keep(socket.socket(type=socket.SOCK_DGRAM))
    lonely.connect(address)
    r.bind(5, lonely)
    r.change(1)
    lonely.send(b"1")
    r.wait("connected UDP to a closed port (ICMP unreachable)")
    r.so_error(lonely)
    r.wait("after SO_ERROR")


@replays("regular file, directory, /dev/null")
def files(r: Replay) -> None:
    """Descriptors that epoll refuses are accepted."""
    with tempfile.TemporaryFile() as file:
        os.write(file.fileno(), b"12345")
        os.lseek(file.fileno(), 2, os.SEEK_SET)
        r.bind(4, file.fileno())
        r.change(1, 2)
        r.wait("file, offset 2 of 5")
        os.lseek(file.fileno(), 5, os.SEEK_SET)
        r.wait("file, offset at end")
    r.fresh_queue()
    r.bind(4, r.keep_fd(os.open("/", os.O_RDONLY)))
    r.change(1)
    r.wait("directory", sizes="a directory's size is the file system's affair")
    r.fresh_queue()
    r.bind(4, r.keep_fd(os.open("/dev/null", os.O_RDWR)))
    r.change(1, 2)
    r.wait("/dev/null")
