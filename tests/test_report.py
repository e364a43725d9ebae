"""`python -m pollster`: what it says of a machine, also of one that lacks this or that."""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import fastjsonschema
import pytest

import pollster
from pollster.report import checks, features

SCHEMA = Path(__file__).parent.parent / "docs" / "report.schema.json"

# As in a sandbox that does not know the newer system calls: seccomp(2) says EPERM for `number`.
WITHOUT_A_SYSTEM_CALL = """
import cffi, runpy, struct, sys
LOAD, EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001
number = int(sys.argv.pop(1))
code = struct.pack("HBBI", LOAD, 0, 0, 0)
code += struct.pack("HBBI", EQUAL, 0, 1, number)
code += struct.pack("HBBI", RETURN, 0, 0, REFUSE) + struct.pack("HBBI", RETURN, 0, 0, ALLOW)
ffi = cffi.FFI()
ffi.cdef("struct program { unsigned short n; char *code; }; int prctl(int, ...);")
libc = ffi.dlopen(None)
held = ffi.new("char[]", code)
program = ffi.new("struct program *", {"n": 4, "code": held})
one, zero = ffi.cast("unsigned long", 1), ffi.cast("unsigned long", 0)
assert libc.prctl(38, one, zero, zero, zero) == 0
assert libc.prctl(22, ffi.cast("unsigned long", 2), program) == 0
sys.argv[0] = "pollster"
runpy.run_module("pollster", run_name="__main__")
"""
EPOLL_PWAIT2, PIDFD_OPEN, INOTIFY_INIT1 = 441, 434, {"x86_64": 294, "aarch64": 26}


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
    assert said.endswith("not all is well: see FAILED above\n")


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
    command = [sys.executable, "-c", WITHOUT_A_SYSTEM_CALL, str(number), "--json"]
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
