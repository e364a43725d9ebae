"""examples/supervisor: real children are started, killed, reloaded and stopped."""

import os
import re
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from supervised import (
    PATIENCE,
    SOON,
    Supervised,
    is_gone,
    program,
    python,
    shell,
    wait_until_ended,
)

FOREVER = shell("echo up; exec sleep 90")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "supervisor.md"

WRONG = [
    ("", "it has no programs: write [programs.NAME] and a command"),
    ("programs = 3", "programs: must be a table, not 3"),
    ("[program.one]", "there is no key 'program': use programs"),
    ("[programs.one", "is not TOML: "),
    ("[programs]\none = 1", "program 'one': must be a table, not 1"),
    ("[programs.one]", "program 'one': the key 'command' is missing"),
    ("[programs.'o ne']", "program 'o ne': a name is made of letters, digits"),
    (program("one", []), "program 'one': command: must be a list, a program and its"),
    ("[programs.one]\ncommand = 'ls'", "program 'one': command: must be a list"),
    ("[programs.one]\ncommand = ['ls', 1]", "'one': command: must be a string without"),
    ("[programs.one]\ncommand = ['l\\u0000']".replace("'", '"'), "without null characters"),
    (program("one", ["a"], user="me"), "program 'one': there is no key 'user': use comm"),
    (program("one", ["a"], restart="no"), "restart: must be one of always, on-failure"),
    (program("one", ["a"], output="file"), "output: must be one of log, inherit, not"),
    (program("one", ["a"], environment=3), "environment: must be a table, not 3"),
    (program("one", ["a"], environment={'"A=B"': "c"}), "'A=B' can't be a variable's"),
    (program("one", ["a"], environment={"A": 1}), "environment: must be a string"),
    (program("one", ["a"], directory=""), "directory: must not be empty"),
    (program("one", ["a"], stop_signal="TERM"), "stop-signal: must be a signal's name"),
    (program("one", ["a"], stop_signal="SIG_DFL"), "stop-signal: must be a signal's name"),
    (program("one", ["a"], stop_timeout=-1), "stop-timeout: must be a number from 0 to"),
    ("[programs.one]\nstop-timeout = nan\ncommand = ['a']", "stop-timeout: must be a num"),
    (program("one", ["a"], back_off={"first": 1}), "back-off: there is no key 'first'"),
    (program("one", ["a"], back_off={"factor": 0.5}), "back-off: factor: must be a num"),
    (program("one", ["a"], back_off={"initial": 99}), "maximum (60) must not be less"),
]
"""Wrong configurations, and what is told of them."""

Start = Callable[..., Supervised]


@pytest.fixture
def start(tmp_path: Path, queue: str, request: pytest.FixtureRequest) -> Start:
    """Starts a supervisor, which is ended with the test."""

    def start(*programs: str, **options: object) -> Supervised:
        running = Supervised(tmp_path, queue, "".join(programs), **options)  # type: ignore[arg-type]
        request.addfinalizer(lambda: running.__exit__(None, None, None))
        return running

    return start


class TestRunning:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
    def test_a_child_that_is_killed_is_started_again(
        self, start: Start, number: signal.Signals
    ) -> None:
        running = start(program("one", FOREVER, back_off=SOON))
        for _ in range(3):
            pid = running.expect_start("one")
            running.expect(rf"one\[{pid}\]: up")
            os.kill(pid, number)
            running.expect(rf"supervisor: one: pid {pid} was killed by {number.name} after .*")
        running.expect_start("one")
        running.stop()

    def test_lines_of_both_outputs_come_under_the_name_of_their_program(self, start: Start) -> None:
        text = "echo out; echo; echo error >&2; printf 'no end'"
        running = start(
            program("one", shell(text), restart="never"),
            program("two", shell("echo two"), restart="never"),
        )
        one, two = (running.expect_start(name) for name in ("one", "two"))
        for _ in range(2):  # whichever ends first
            running.expect(r"supervisor: (one|two): is not to be started again")
        ends = [line for line in running.lines if " exited with status 0 after " in line]
        assert sorted(line.partition(" exited")[0] for line in ends) == [
            f"supervisor: one: pid {one}",
            f"supervisor: two: pid {two}",
        ]
        printed = [line for line in running.lines if not line.startswith("supervisor: ")]
        prefix = f"one[{one}]: "
        assert [line for line in printed if line.startswith(prefix)] == [
            prefix + line for line in ("out", "", "error", "no end")
        ]
        assert f"two[{two}]: two" in printed
        running.stop()

    def test_a_line_without_end_comes_in_pieces(self, start: Start) -> None:
        text = "print('x' * 20_000); print('y' * 100_000, end='')"
        running = start(program("one", python(text), restart="never"))
        running.expect(r"supervisor: one: is not to be started again")
        printed = [line.partition(": ")[2] for line in running.lines if line.startswith("one[")]
        assert max(map(len, printed)) == 8192
        assert "".join(printed) == "x" * 20_000 + "y" * 100_000
        running.stop()

    def test_one_who_writes_all_the_time_keeps_nobody_waiting(self, start: Start) -> None:
        running = start(program("one", shell("yes")), program("two", FOREVER, back_off=SOON))
        os.kill(running.expect_start("two"), signal.SIGKILL)
        running.expect_start("two")
        running.stop()

    def test_an_output_that_is_inherited_is_the_supervisors(self, start: Start) -> None:
        running = start(program("one", shell("echo as it is"), output="inherit"))
        running.expect("as it is")
        running.stop()

    def test_environment_and_directory_are_set(self, start: Start, tmp_path: Path) -> None:
        text = 'echo "$GREETING from $(pwd -P), $POLLSTER_BACKEND"'
        running = start(
            program("one", shell(text), environment={"GREETING": "hello"}, directory=str(tmp_path))
        )
        there = re.escape(os.path.realpath(tmp_path))
        running.expect(rf"one\[\d+\]: hello from {there}, (epoll|kqueue)")
        running.stop()

    def test_children_inherit_no_descriptors_and_no_ways_with_signals(self, start: Start) -> None:
        text = """
import fcntl, os
def is_open(fd):
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFD) >= 0
    except OSError:
        return False
ignored = {n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN}
print("ignored", sorted(ignored - {signal.SIGPIPE, signal.SIGXFSZ}))
print("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
print("open", [fd for fd in range(256) if is_open(fd)])
print("leads", os.getsid(0) == os.getpgrp() == os.getpid())
print("input", os.read(0, 1))
"""
        careless = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
os.execv(sys.argv[1], sys.argv[1:])
"""
        running = start(
            program("one", python(text), restart="on-failure"),
            before=(sys.executable, "-c", careless),
        )
        running.expect(r"supervisor: one: pid \d+ exited with status 0 after .*")
        printed = [line.partition(": ")[2] for line in running.lines if line.startswith("one[")]
        assert printed == [
            "ignored []",
            "blocked set()",
            "open [0, 1, 2]",
            "leads True",
            "input b''",
        ]
        running.stop()

    @pytest.mark.parametrize(
        ("restart", "code", "again"),
        [
            ("always", 0, True),
            ("always", 3, True),
            ("on-failure", 0, False),
            ("on-failure", 3, True),
            ("never", 0, False),
            ("never", 3, False),
        ],
    )
    def test_restart_says_when(self, start: Start, restart: str, code: int, again: bool) -> None:
        running = start(program("one", shell(f"exit {code}"), restart=restart))
        running.expect(rf"supervisor: one: pid \d+ exited with status {code} after .*")
        then = "starts again in 1 s" if again else "is not to be started again"
        running.expect(rf"supervisor: one: {then}")
        running.stop()

    def test_the_delay_grows_to_its_maximum(self, start: Start) -> None:
        back_off = {"initial": 0.01, "factor": 3, "maximum": 0.05}
        running = start(program("one", shell("exit 1"), back_off=back_off))
        delays = [running.expect(r".*starts again in (\S+) s")[1] for _ in range(4)]
        assert delays == ["0.01", "0.03", "0.05", "0.05"]
        running.stop()

    def test_the_delay_begins_anew_after_it_has_run_for_long(
        self, start: Start, tmp_path: Path
    ) -> None:
        text = f"echo x >> {tmp_path}/starts; test $(wc -l < {tmp_path}/starts) != 3 || sleep 2"
        back_off = {"initial": 0.01, "maximum": 9, "reset": 1.5}
        running = start(program("one", shell(text), back_off=back_off))
        delays = [running.expect(r".*starts again in (\S+) s")[1] for _ in range(4)]
        assert delays == ["0.01", "0.02", "0.01", "0.02"]
        running.stop()

    @pytest.mark.parametrize("why", ["missing", "not executable", "no directory"])
    def test_what_cannot_be_started_is_tried_again(
        self, start: Start, tmp_path: Path, why: str
    ) -> None:
        file, directory = tmp_path / "program", tmp_path / "directory"
        if why != "missing":
            file.write_text("#!/bin/sh\necho here\n")
        if why == "no directory":
            file.chmod(0o755)
        else:
            directory.mkdir()
        running = start(
            program("one", [str(file)], directory=str(directory), back_off=SOON),
            program("two", FOREVER),
        )
        running.expect(r"supervisor: one: can't be started: \[Errno \d+\] .*")
        running.expect(r"supervisor: one: starts again in 0.02 s")
        running.signal(signal.SIGUSR1)
        running.expect(r"supervisor: one: waiting, \d+ restarts")
        if why == "missing":
            (tmp_path / "new").write_text("#!/bin/sh\necho here\n")
            (tmp_path / "new").chmod(0o755)
            (tmp_path / "new").rename(file)
        elif why == "no directory":
            directory.mkdir()
        else:
            file.chmod(0o755)
        running.expect(r"one\[\d+\]: here")
        running.stop()

    def test_a_log_that_nobody_reads_is_no_reason_to_end(
        self, start: Start, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "starts")
        fd = os.open(tmp_path / "starts", os.O_RDWR)

        def next_pid() -> int:
            assert select.select([fd], [], [], PATIENCE)[0], "no further start"
            return int(os.read(fd, 20))

        try:
            running = start(
                program("one", shell(f"echo $$ > {tmp_path}/starts; exec sleep 90"), back_off=SOON)
            )
            pids = [next_pid()]
            running.close_log()
            for _ in range(3):
                os.kill(pids[-1], signal.SIGKILL)
                pids.append(next_pid())
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
            assert all(map(is_gone, pids))
        finally:
            os.close(fd)

    def test_hundreds_of_restarts_leave_no_descriptor_and_no_zombie(self, start: Start) -> None:
        at_once = {"initial": 0, "maximum": 0}
        running = start(
            program("one", shell("echo out"), back_off=at_once),
            program("two", ["false"], back_off=at_once),
            program("missing", ["/missing"], back_off={"initial": 0.005, "maximum": 0.005}),
            before=("sh", "-c", 'ulimit -n 40; exec "$@"', "sh"),
        )
        pids = {}
        for name in ("one", "two") * 150:
            pids[running.expect_start(name)] = name
        running.expect(r"supervisor: missing: can't be started: \[Errno 2\] .*")
        running.stop()
        assert not [line for line in running.lines if "Too many open files" in line]
        assert all(map(is_gone, pids))


class TestReloading:
    ways = pytest.mark.parametrize("way", ["SIGHUP", "replaced", "written"])

    @staticmethod
    def change(running: Supervised, way: str, *programs: str) -> None:
        if way == "replaced":
            running.replace("".join(programs))
        else:
            running.write("".join(programs))
        if way == "SIGHUP":
            running.signal(signal.SIGHUP)

    def reload(self, running: Supervised, way: str, does: str, *programs: str) -> None:
        self.change(running, way, *programs)
        start, restart, stop = does.split()
        running.expect(
            rf"supervisor: pid {running.pid} has read .*: "
            rf"{start} programs to start, {restart} to restart, {stop} to stop"
        )

    @ways
    def test_what_has_changed_is_restarted_and_the_rest_left_alone(
        self, start: Start, way: str
    ) -> None:
        same = program("same", FOREVER, environment={"A": "1"})
        running = start(same, program("other", FOREVER), program("gone", FOREVER))
        before = {name: running.expect_start(name) for name in ("same", "other", "gone")}
        self.reload(
            running,
            way,
            "1 1 1",
            program("new", FOREVER),
            program("other", FOREVER, environment={"A": "2"}),
            same,
        )
        running.expect(rf"supervisor: other: pid {before['other']} was killed by SIGTERM after .*")
        after = running.expect_start("other")
        running.signal(signal.SIGUSR1)
        running.expect(rf"supervisor: same: running, pid {before['same']}, 0 restarts, up .* s")
        running.expect(rf"supervisor: other: running, pid {after}, 1 restarts, up .* s")
        running.expect(r"supervisor: new: running, pid \d+, 0 restarts, up .* s")
        running.stop()
        assert is_gone(before["gone"])

    @ways
    def test_the_old_configuration_goes_on_where_the_new_one_is_wrong(
        self, start: Start, way: str
    ) -> None:
        running = start(program("one", FOREVER))
        pid = running.expect_start("one")
        for wrong, told in (
            ("[programs.one]\ncommand =", r".* is not TOML: .*"),
            ("", r".*: it has no programs: .*"),
            (program("one", FOREVER, restart="perhaps"), r".*: program 'one': restart: .*"),
        ):
            self.change(running, way, wrong)
            running.expect(rf"supervisor: the old configuration goes on: {told}")
        self.reload(running, way, "1 0 0", program("one", FOREVER), program("two", FOREVER))
        running.expect_start("two")
        running.signal(signal.SIGUSR1)
        running.expect(rf"supervisor: one: running, pid {pid}, 0 restarts, up .* s")
        running.stop()

    def test_a_file_that_is_gone_is_read_when_it_is_back(self, start: Start) -> None:
        running = start(program("one", FOREVER))
        running.expect_start("one")
        running.path.unlink()
        running.signal(signal.SIGHUP)
        running.expect(r"supervisor: the old configuration goes on: .* can't be read: No such .*")
        running.write(program("two", FOREVER))
        running.expect_start("two")
        running.stop()

    def test_a_change_ends_the_wait_of_a_program_that_fails(self, start: Start) -> None:
        running = start(
            program("one", shell("exit 1"), back_off={"initial": 1000, "maximum": 1000})
        )
        running.expect(r"supervisor: one: starts again in 1000 s")
        self.reload(running, "SIGHUP", "0 1 0", program("one", FOREVER))
        running.expect(r"one\[\d+\]: up")
        running.stop()

    def test_a_change_starts_a_program_that_had_ended_for_good(self, start: Start) -> None:
        running = start(program("one", shell("exit 0"), restart="never"))
        running.expect(r"supervisor: one: is not to be started again")
        self.reload(running, "SIGHUP", "0 1 0", program("one", FOREVER))
        running.expect(r"one\[\d+\]: up")
        running.stop()

    def test_the_last_word_counts_while_a_program_is_being_stopped(self, start: Start) -> None:
        slow = python(
            "import os, sys\n"
            "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'asked\\n'))\n"
            "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))\n"
            "os.write(1, b'up\\n')\n"
            "while True:\n    signal.pause()"
        )
        running = start(program("one", slow, stop_timeout=1000), program("two", FOREVER))
        pid = running.expect_start("one")
        running.expect(rf"one\[{pid}\]: up")
        two = program("two", FOREVER)
        self.reload(running, "SIGHUP", "0 1 0", program("one", FOREVER), two)
        running.expect(rf"one\[{pid}\]: asked")
        self.reload(running, "SIGHUP", "0 0 1", two)
        last = program("one", shell("echo last; exec sleep 90"))
        self.reload(running, "SIGHUP", "0 1 0", last, two)
        os.kill(pid, signal.SIGUSR1)
        running.expect(rf"supervisor: one: pid {pid} exited with status 0 after .*")
        running.expect(r"one\[\d+\]: last")
        running.stop()


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_stops_everything(self, start: Start, number: signal.Signals) -> None:
        running = start(
            program("one", FOREVER),
            program("two", FOREVER, stop_signal="SIGQUIT"),
            program("waits", shell("exit 1"), back_off={"initial": 1000, "maximum": 1000}),
            program("ended", shell("exit 1"), restart="never"),
        )
        one, two = running.expect_start("one"), running.expect_start("two")
        running.expect(r"supervisor: ended: is not to be started again")
        running.signal(number)
        running.expect_end()
        ends = [line for line in running.lines if re.match(r"supervisor: (one|two): pid", line)]
        assert sorted(re.sub(r" after .*", "", line) for line in ends) == [
            f"supervisor: one: pid {one} was killed by SIGTERM",
            f"supervisor: two: pid {two} was killed by SIGQUIT",
        ]
        stopped = {line.split()[1] for line in running.lines if line.endswith(": stopped")}
        assert stopped == {"one:", "two:", "waits:", "ended:"}

    def test_one_who_does_not_listen_is_killed(self, start: Start) -> None:
        deaf = shell("trap '' TERM; echo up; while :; do sleep 1; done")
        running = start(program("one", deaf, stop_timeout=0.1), program("two", FOREVER))
        pid = running.expect_start("one")
        running.expect(rf"one\[{pid}\]: up")
        running.signal(signal.SIGTERM)
        running.expect(r"supervisor: one: still runs after 0.1 s")
        running.expect(rf"supervisor: one: pid {pid} was killed by SIGKILL after .*")
        running.expect_end()

    def test_a_second_signal_kills_at_once(self, start: Start) -> None:
        deaf = shell("trap '' TERM; echo up; while :; do sleep 1; done")
        running = start(program("one", deaf, stop_timeout=1000))
        pid = running.expect_start("one")
        running.expect(rf"one\[{pid}\]: up")
        running.signal(signal.SIGTERM)
        running.expect(r"supervisor: one: stopping pid \d+ with SIGTERM")
        running.signal(signal.SIGTERM)
        running.expect(r"supervisor: killing what still runs")
        running.expect(rf"supervisor: one: pid {pid} was killed by SIGKILL after .*")
        running.expect_end()

    def test_a_child_that_is_held_up_hears_it(self, start: Start) -> None:
        running = start(program("one", FOREVER, stop_timeout=1000))
        pid = running.expect_start("one")
        os.kill(pid, signal.SIGSTOP)
        running.signal(signal.SIGTERM)
        running.expect(rf"supervisor: one: pid {pid} was killed by SIGTERM after .*")
        running.expect_end()

    def test_what_a_child_leaves_in_its_group_ends_with_it(self, start: Start, queue: str) -> None:
        running = start(program("one", shell("sleep 90 & echo $!; wait"), back_off=SOON))
        pid = running.expect_start("one")
        worker = int(running.expect(rf"one\[{pid}\]: (\d+)")[1])
        os.kill(pid, signal.SIGKILL)
        running.expect_start("one")
        wait_until_ended(worker, queue)
        running.stop()

    def test_one_who_keeps_the_output_of_a_child_keeps_nobody(
        self, start: Start, queue: str
    ) -> None:
        text = """
import os
if os.fork() == 0:
    os.setsid()
    print("left", os.getpid(), flush=True)
    signal.pause()
signal.pause()
"""
        running = start(program("one", python(text), back_off=SOON))
        left = []
        for _ in range(3):
            pid = running.expect_start("one")
            left.append(int(running.expect(rf"one\[{pid}\]: left (\d+)")[1]))
            os.kill(pid, signal.SIGKILL)
            running.expect(rf"supervisor: one: pid {pid} was killed by SIGKILL after .*")
        running.stop()
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # it is there: in a session of its own it is not ours
            wait_until_ended(pid, queue)

    @pytest.mark.skipif(
        not (sys.platform.startswith("linux") and hasattr(os, "waitid")),
        reason="a subreaper is made by Linux's prctl(2), and PyPy has no os.waitid()",
    )
    def test_orphans_are_waited_for_and_the_statuses_of_children_kept(
        self, start: Start, queue: str
    ) -> None:
        subreaper = """
import ctypes, os, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
        text = """
import os
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        print("left", os.getpid(), flush=True)
        os._exit(0)
os._exit(7)
"""
        running = start(
            program("one", python(text), back_off=SOON),
            program("two", FOREVER),
            before=(sys.executable, "-c", subreaper),
            arguments=("--reap-orphans",),
        )
        for _ in range(10):
            pid = running.expect_start("one")
            running.expect(rf"supervisor: one: pid {pid} exited with status 7 after .*")
        left = [int(line.split()[-1]) for line in running.lines if ": left " in line]
        assert left
        for pid in left:
            wait_until_ended(pid, queue)
        for _ in range(2):  # the second answer comes after what followed the first
            running.signal(signal.SIGUSR1)
            running.expect(r"supervisor: two: running, .*")
        assert all(map(is_gone, left))
        running.stop()


class TestTheConfiguration:
    @pytest.mark.parametrize("text", [0, 3, 7])
    def test_nothing_is_started_by_a_wrong_one(self, start: Start, text: int) -> None:
        complaint = start(WRONG[text][0]).refusal()
        assert complaint.count("\n") == 1
        assert complaint.startswith("supervisor: ")
        assert WRONG[text][1] in complaint

    def test_what_is_wrong_is_told_in_one_line(self, start: Start) -> None:
        running = start(program("one", FOREVER))
        running.expect(r"one\[\d+\]: up")
        for text, told in WRONG:
            running.replace(text)
            running.signal(signal.SIGHUP)
            running.expect(rf"supervisor: the old configuration goes on: .*{re.escape(told)}.*")
        running.stop()

    def test_a_file_that_is_not_there_is_told(self, start: Start, tmp_path: Path) -> None:
        missing = tmp_path / "missing.toml"
        complaint = start(path=missing).refusal()
        assert complaint == f"supervisor: {missing} can't be watched: No such file or directory\n"

    def test_the_sample_of_the_page_runs(self, start: Start, tmp_path: Path) -> None:
        sample = re.search(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
        assert sample
        running = start(sample[1], cwd=tmp_path)
        running.expect(r"clock\[\d+\]: tick")
        running.signal(signal.SIGUSR1)
        running.expect(r"supervisor: clock: running, pid \d+, \d+ restarts, up .* s")
        running.stop()
