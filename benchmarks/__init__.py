"""What pollster costs beside C, `select.epoll`, `selectors` and event loops: see README.md.

`python -m benchmarks` runs everything. Nothing here is part of the package that users install.
"""
