"""What several cases are gated by: kernels that can't tell of some kinds of source."""

from dataclasses import replace

from case import Gate

FIFO_ENDS_OF_MACOS = Gate(
    ("Darwin",),
    "neither end of a FIFO is told that the other one went",
    "XNU vfs_vnops.c filt_vnode_common, fifo_vnops.c fifo_close_internal; libuv#4513, go#24164",
    kinds=("fifo",),
)
FIFO_ENDS_OF_MACOS_ALWAYS = replace(FIFO_ENDS_OF_MACOS, kinds=())

FIFO_WRITERS_OF_NETBSD = Gate(
    ("NetBSD",),
    "the write end of a FIFO is always writable and write_closed",
    "NetBSD fifo_vnops.c 1.77, fifo_kqfilter, filt_fifowrite",
    kinds=("fifo",),
)
FIFO_WRITERS_OF_NETBSD_ALWAYS = replace(FIFO_WRITERS_OF_NETBSD, kinds=())

NO_PRIORITY = Gate(
    ("FreeBSD", "NetBSD"),
    "no filter tells of out-of-band data",
    "kqueue(2) of FreeBSD and NetBSD",
)

TERMINALS_OF_NETBSD = Gate(
    ("NetBSD",),
    "nothing tells that a terminal hung up",
    "NetBSD tty_pty.c 1.142 filt_ptcread, filt_ptcwrite; tty.c filt_ttyread, filt_ttywrite",
)
