"""What a program runs first to be in a sandbox."""

EPOLL_PWAIT2 = 441

# As where a container does not know the newer system calls: seccomp(2) says EPERM for the one whose
# number is the first argument.
WITHOUT_A_SYSTEM_CALL = """
import cffi, struct, sys
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
"""
