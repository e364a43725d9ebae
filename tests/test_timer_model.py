"""Random programs of timers against a model: which are due, and in what order they come.

Time does not matter to them: what is due has a deadline in the past, what is not one far ahead.
"""

import time

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import pollster.backend
from pollster import Events, Interest, Poll, Timer, Token

PAST = st.integers(1, 1000).map(lambda number: number / 1000)  # after the machine began
AHEAD = st.integers(0, 1000).map(lambda number: time.monotonic() + 10_000 + number)
DEADLINES = st.one_of(PAST, AHEAD)


class Timers(RuleBasedStateMachine):
    """The same timers on every back end; `deadlines` of those that are set."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.polls = [Poll(backend=name) for name in pollster.backend.available()]
        self.timers: dict[int, list[Timer]] = {}
        self.deadlines: dict[int, float] = {}
        self.made = 0

    def teardown(self) -> None:
        for poll in self.polls:
            poll.close()

    def make(self, deadline: float) -> int:
        self.made += 1
        self.timers[self.made] = [Timer.at(deadline) for _ in self.polls]
        self.deadlines[self.made] = deadline
        for poll, timer in zip(self.polls, self.timers[self.made], strict=True):
            poll.registry.register(timer, Token(self.made), Interest.READABLE)
        return self.made

    @rule(target=numbers, deadline=DEADLINES)
    def register(self, deadline):
        return self.make(deadline)

    @rule(target=numbers, deadlines=st.lists(DEADLINES, min_size=80, max_size=120))
    def register_many(self, deadlines):
        return multiple(*map(self.make, deadlines))

    @rule(number=numbers, deadline=DEADLINES)
    def set_anew(self, number, deadline):
        if number in self.timers:
            for timer in self.timers[number]:
                timer.set_at(deadline)
            self.deadlines[number] = deadline

    @rule(number=numbers)
    def cancel(self, number):
        for timer in self.timers.get(number, ()):
            timer.cancel()
        self.deadlines.pop(number, None)

    @rule(every=st.integers(2, 5))
    def cancel_most(self, every):
        for number in list(self.timers):
            if number % every:
                self.cancel(number)

    @rule(number=consumes(numbers))
    def deregister(self, number):
        for poll, timer in zip(self.polls, self.timers.pop(number), strict=True):
            poll.registry.deregister(timer)
        self.deadlines.pop(number, None)

    @rule(capacity=st.integers(1, 60))
    def poll(self, capacity):
        due = sorted(at for at in self.deadlines.values() if at < 2)[:capacity]
        for poll in self.polls:
            tokens = [int(event.token) for event in poll.poll(Events(capacity), timeout=0)]
            assert [self.deadlines[token] for token in tokens] == due
            assert len(set(tokens)) == len(tokens)
        # Of equal deadlines each back end may take others: bring them to the same.
        for number in [n for n, at in self.deadlines.items() if due and at <= due[-1]]:
            self.cancel(number)

    @invariant()
    def all_are_listed(self):
        for poll in self.polls:
            assert {int(r.token) for r in poll.registry} == set(self.timers)


TestTimers = Timers.TestCase
TestTimers.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # a slow machine is none of the model's business
)
