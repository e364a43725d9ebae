"""The five-request demo: `python -m pollster.demo`.

`__main__` is the client and shows how pollster is used; `options` reads its command line,
`server` answers it after the delay that each request chooses, and `timeline` draws what came
of it. Only the client knows pollster.
"""
