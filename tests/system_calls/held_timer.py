"""A wait begins while another thread sets the first deadline: says how many timers it reported.

Run with held_memory.c preloaded and a back end's name. The wait begins where the one who sets the
timer is held, between looking who waits and having set it.
"""

import ctypes
import sys
import threading
import time
from pathlib import Path

import pollster.backend

NEVER = 2**63 - 1
WAIT = 10  # seconds

backend = pollster.backend.load(sys.argv[1])
ffi, lib = backend.ffi, backend.lib
memory = ctypes.CDLL(None)
selector = lib.selector_open()
timer = ffi.new("timer *", {"deadline": NEVER})
change = ffi.new("change *", {"what": lib.REGISTER, "fd": -1, "timer": timer, "token": 1})
change.interest = lib.INTEREST_READABLE
assert lib.selector_apply(selector, change, 1) == 0
batch = lib.batch_new(selector, 4)
told: list[int] = []


def set_it() -> None:
    memory.hold_the_next()
    assert lib.timer_set(timer, 1, 0) == 0


def wait() -> None:
    told.append(lib.selector_wait(batch, -1))


def is_asleep(thread: threading.Thread) -> bool:
    fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2]
    return fields.split()[0] == "S"


setter = threading.Thread(target=set_it, daemon=True)
setter.start()
while not memory.is_held():
    time.sleep(0.001)
calls = threading.Thread(target=wait, daemon=True)
calls.start()
while not is_asleep(calls):
    time.sleep(0.001)
memory.let_go()
setter.join(WAIT)
calls.join(WAIT)
print(told)
