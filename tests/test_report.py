"""`python -m pollster`: what it says of a machine, also of one that lacks this or that."""

import errno
import json
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import fastjsonschema
import pytest
from sandboxes import EPOLL_PWAIT2, WITHOUT_A_SYSTEM_CALL

import pollster
from pollster.report import checks, features

SCHEMA = Path(__file__).parent.parent / "docs" / "report.schema.json"

MAIN = """
import runpy, sys
sys.argv[0] = "pollster"
runpy.run_module("pollster", run_name="__main__")
"""
WITHOUT_PROC = """
import cffi, os
ffi = cffi.FFI()
ffi.cdef("int unshare(int); int mount(char *, char *, char *, unsigned long, void *);")
libc = ffi.dlopen(None)
NEW_USER, NEW_MOUNTS, PRIVATE, ALL_BELOW = 0x10000000, 0x00020000, 0x40000, 0x4000
allowed = libc.unshare(NEW_MOUNTS | (NEW_USER if os.getuid() else 0)) == 0
allowed = allowed and libc.mount(b"none", b"/", ffi.NULL, PRIVATE | ALL_BELOW, ffi.NULL) == 0
if not allowed or libc.mount(b"none", b"/proc", b"tmpfs", 0, ffi.NULL):
    os._exit(77)
"""
NOT_ALLOWED = 77

WITH_FEW_DESCRIPTORS = """
import resource, sys
import pollster.__main__
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
sys.exit(pollster.__main__.main())
"""

PIDFD_OPEN, INOTIFY_INIT1 = 434, {"x86_64": 294, "aarch64": 26}


def run(*arguments: str, **how) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pollster", *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=120, **how)


def test_a_person_is_told_of_every_back_end(backend) -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{backend}: self-check" in done.stdout
    assert done.stdout.endswith("all is well\n")
    assert "FAILED" not in done.stdout
    assert "\x1b" not in done.stdout


def test_a_program_is_told_the_same_in_json(backend) -> None:
    done = run("--json", "--back-end", backend)
    said = json.loads(done.stdout)
    fastjsonschema.compile(json.loads(SCHEMA.read_text()))(said)
    assert said["ok"] is True
    assert done.returncode == 0
    assert [*said["backends"]] == [backend]
    assert [check["name"] for check in said["backends"][backend]["checks"]] == [*checks.CHECKS]
    assert said["versions"]["pollster"] == pollster.__version__


def test_it_names_no_host_and_no_path_of_the_user() -> None:
    said = run().stdout
    assert str(Path.home()) not in said
    assert os.getcwd() not in said
    assert platform.node() not in said.split()


def test_a_back_end_that_is_not_there_is_one_line() -> None:
    done = run("--back-end", "iocp")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("'iocp' is not a back end of this machine; it has ")
    assert done.stderr.count("\n") == 1


def test_a_check_that_fails_says_what_and_ends_in_1(backend, monkeypatch, capsys) -> None:
    from pollster import __main__ as command

    def fails(backend: str) -> str:
        raise checks.FaultError("it does not work; mend it")

    def raises(backend: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", "/home/me/secret")

    monkeypatch.setattr(checks, "CHECKS", {"one": fails, "other": raises})
    assert command.main(["--back-end", backend]) == 1
    said = capsys.readouterr().out
    assert "FAILED  it does not work; mend it" in said
    assert "secret" not in said
    assert "No such file or directory; a part of the system's files is missing here" in said
    assert said.endswith("not all is well: see FAILED above\n")


FEWER = "close some descriptors or raise the limit (ulimit -n)"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files; close some desc"),
        (OSError(errno.EMFILE, f"Too many; {FEWER}"), f"^Too many; {re.escape(FEWER)}$"),
        (PermissionError(errno.EPERM, "Not permitted", "/home/me/x"), "Not permitted; this kernel"),
        (OSError(errno.ENOENT, "no temporary folder in ['/tmp', '/home/me/a b']"), "missing here"),
        (OSError(errno.ENOSPC, "<PathWatch /home/me/x> can't be watched"), "a limit is reached"),
        (OSError(errno.EBADF, "Bad"), "Bad; report it"),
        (OSError("no number"), "no number; report it"),
        (ValueError("of /home/me/x"), r"of \(a path\); report it"),
    ],
)
def test_each_failure_has_a_cure_and_no_path(error: Exception, says: str) -> None:
    said = checks._explained(error)
    assert re.search(says, said), said
    assert "home" not in said


def test_who_reads_one_line_of_it_hears_no_complaint(backend) -> None:
    command = [sys.executable, "-m", "pollster", "--json", "--back-end", backend]
    reader, writer = os.pipe()
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE) as child:
        os.close(writer)
        os.close(reader)
        assert child.stderr is not None
        assert child.stderr.read() == b""
    assert child.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device here is always full")
def test_a_report_that_can_t_be_written_is_one_line(backend) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "pollster", "--back-end", backend]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("the report can't be written: ")


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_without_proc_it_says_what_that_takes_away(backend) -> None:
    command = [sys.executable, "-c", WITHOUT_PROC + MAIN, "--json", "--back-end", backend]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    if done.returncode == NOT_ALLOWED:
        pytest.skip("this process may not make a mount namespace")
    assert done.stderr == ""
    said = json.loads(done.stdout)
    names = {limit["name"] for limit in said["limits"]}
    assert "descriptors" in names
    assert not any("inotify" in name for name in names)
    failed = {c["name"]: c["says"] for c in said["backends"][backend]["checks"] if not c["ok"]}
    if backend == "epoll":
        assert failed == {}
    else:  # the tests' kqueue asks /proc for the name of a file
        assert [*failed] == ["paths"]
        assert failed["paths"].startswith("a file can't be watched: ")
        assert "mount /proc" in failed["paths"]


@pytest.mark.parametrize("most", [4, 5, 6, 7, 8, 9, 10, 12])
def test_with_few_descriptors_each_failure_says_what_and_the_cure(backend, most) -> None:
    """In a process of its own, with as many as are left: Python itself took what it needs."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_FEW_DESCRIPTORS, str(most), "--json", "--back-end", backend],
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    for check in said["backends"][backend]["checks"]:
        assert check["ok"] or re.search("close some .*raise .*", check["says"])
    assert done.returncode == (0 if said["ok"] else 1)


def test_with_twenty_descriptors_it_says_what_it_could_not_do(backend) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))

    done = run("--json", "--back-end", backend, preexec_fn=few)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["ok"] else 1)
    assert {limit["name"]: limit["most"] for limit in said["limits"]}["descriptors"] == 20


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp(2) is Linux's")
@pytest.mark.parametrize(
    ("number", "feature", "checks_that_fail"),
    [
        (EPOLL_PWAIT2, "epoll_pwait2", set()),
        (PIDFD_OPEN, "pidfd", {"processes"}),
        (INOTIFY_INIT1.get(platform.machine()), "inotify", {"paths"}),
    ],
)
def test_without_a_system_call_it_says_so(backend, number, feature, checks_that_fail) -> None:
    if backend != "epoll":
        pytest.skip("it is about what epoll's back end asks Linux for")
    if number is None:
        pytest.skip(f"the number of that system call on {platform.machine()} is not written here")
    program = WITHOUT_A_SYSTEM_CALL + MAIN
    command = [sys.executable, "-c", program, str(number), "--json"]
    done = subprocess.run(
        [*command, "--back-end", backend], text=True, capture_output=True, timeout=120
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)["backends"][backend]
    works = {each["name"]: each["works"] for each in said["features"]}
    assert works[feature] is False
    assert works["eventfd"] is True
    assert {each["name"] for each in said["checks"] if not each["ok"]} == checks_that_fail
    assert done.returncode == (1 if checks_that_fail else 0)


def test_every_feature_says_what_it_is_for(backend) -> None:
    found = features.features(backend)
    assert len({feature.name for feature in found}) == len(found)
    assert all(feature.about for feature in found)
