"""Random programs of timers against a model: which are due, and in what order they come.

Time does not matter to them: what is due has a deadline in the past, what is not one far ahead.
"""

import time

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import pollster.backend
from pollster import Events, Interest, Poll, Timer, Token

# After the machine began; some are the same.
PAST = st.one_of(st.integers(1, 1000), st.integers(1, 3)).map(lambda number: number / 1000)
AHEAD = st.integers(0, 1000).map(lambda number: time.monotonic() + 10_000 + number)
DEADLINES = st.one_of(PAST, AHEAD)


class Timers(RuleBasedStateMachine):
    """The same timers on every back end; when those that are set are due, and how often any was."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.polls = [Poll(backend=name) for name in pollster.backend.available()]
        self.timers: dict[int, list[Timer]] = {}
        self.due: dict[int, tuple[float, int]] = {}
        self.made = self.set = 0

    def teardown(self) -> None:
        for poll in self.polls:
            poll.close()

    def note(self, number: int, deadline: float) -> None:
        self.set += 1
        self.due[number] = deadline, self.set

    def make(self, deadline: float) -> int:
        self.made += 1
        self.timers[self.made] = [Timer.at(deadline) for _ in self.polls]
        self.note(self.made, deadline)
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
            self.note(number, deadline)

    @rule(number=numbers)
    def cancel(self, number):
        for timer in self.timers.get(number, ()):
            timer.cancel()
        self.due.pop(number, None)

    @rule(every=st.integers(2, 5))
    def cancel_most(self, every):
        for number in list(self.timers):
            if number % every:
                self.cancel(number)

    @rule(number=consumes(numbers))
    def deregister(self, number):
        for poll, timer in zip(self.polls, self.timers.pop(number), strict=True):
            poll.registry.deregister(timer)
        self.due.pop(number, None)

    @rule(capacity=st.integers(1, 60))
    def poll(self, capacity):
        due = sorted((when, number) for number, when in self.due.items() if when[0] < 2)
        expected = [number for _, number in due[:capacity]]
        for poll in self.polls:
            assert [
                int(event.token) for event in poll.poll(Events(capacity), timeout=0)
            ] == expected
        for number in expected:
            self.due.pop(number)

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
