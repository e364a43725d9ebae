"""What `python -m pollster` says: this machine, its limits, what its kernel has, a self-check.

`machine` looks, `features` asks a back end what its kernel has, `checks` tries the library for
real. Nothing here prints; nothing of it names the user, a path of theirs or the host.
"""
