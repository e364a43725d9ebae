/* What help() and the reference say of Timer's methods; a test runs the examples. */
#ifndef POLLSTER_PYTHON_TIMERS_H
#define POLLSTER_PYTHON_TIMERS_H

#define AFTER_DOC                                                                                  \
    "after($type, seconds, /, *, once=False)\n--\n\n"                                              \
    "Returns a timer that expires once, so many seconds from now.\n\n"                             \
    "Parameters: `seconds`, a number or a `timedelta`, rounded up to a nanosecond; 0 is at "       \
    "once,\n"                                                                                      \
    "infinity is never. The time counts from this call, registered or not.\n\n"                    \
    "`once`: for a single use. It is registered until a poll has reported it, and then no more, "  \
    "by\n"                                                                                         \
    "itself; the Poll lets go of it.\n\n"                                                          \
    "Raises `ValueError` for what is negative or NaN, `TypeError` for other types.\n\n"            \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     poll.registry.register(Timer.after(0.001), Token(1), Interest.READABLE)\n"            \
    "...     list(poll.poll())\n"                                                                  \
    "...     poll.registry.register(Timer.after(0.001, once=True), Token(2), Interest.READABLE)\n" \
    "...     list(poll.poll()), [r.token for r in poll.registry]\n"                                \
    "[<Event Token(1) readable>]\n"                                                                \
    "([<Event Token(2) readable>], [Token(1)])\n"

#define EVERY_DOC                                                                                  \
    "every($type, seconds, /)\n--\n\n"                                                             \
    "Returns a timer that expires again and again, so many seconds apart, from now on.\n\n"        \
    "It expires at whole multiples of the period after this call, however late anybody looks:\n"   \
    "it does not drift. Periods that were missed come as one event; `expirations()` counts "       \
    "them.\n\n"                                                                                    \
    "Parameters: `seconds`, as of `after`, and more than 0. Raises what `after` raises.\n\n"       \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> import time\n"                                                                            \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     timer = Timer.every(0.001)\n"                                                         \
    "...     poll.registry.register(timer, Token(1), Interest.READABLE)\n"                         \
    "...     time.sleep(0.01)\n"                                                                   \
    "...     len(poll.poll()), timer.expirations() >= 10\n"                                        \
    "(1, True)\n"

#define AT_DOC                                                                                     \
    "at($type, deadline, /, *, once=False)\n--\n\n"                                                \
    "Returns a timer that expires once, at a time of `time.monotonic()`.\n\n"                      \
    "Parameters: `deadline`, in seconds; one that has passed is at once, infinity is never.\n"     \
    "`once`: as of `after`.\n"                                                                     \
    "Raises `ValueError` for NaN, `TypeError` for what is not a number.\n\n"                       \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> import time\n"                                                                            \
    ">>> deadline = time.monotonic() + 0.001\n"                                                    \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     poll.registry.register(Timer.at(deadline), Token(1), Interest.READABLE)\n"            \
    "...     len(poll.poll()), time.monotonic() >= deadline\n"                                     \
    "(1, True)\n"

#define SETS_DOC                                                                                   \
    "It stays registered as it is. What it was set to before does not come any more, also not\n"   \
    "from the rest of the batch that is being read, and `expirations()` begins at 0.\n\n"

#define SET_RAISES_DOC                                                                             \
    "`ValueError` where the Poll that it is registered with is closed, `OSError` where\n"          \
    "that has no descriptor left for its timer.\n"

#define SET_AFTER_DOC                                                                              \
    "set_after($self, seconds, /)\n--\n\n"                                                         \
    "Sets it anew, to expire once, so many seconds from now.\n\n" SETS_DOC                         \
    "Parameters as of `after`, and its errors; " SET_RAISES_DOC "\n"                               \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> idle = Timer.after(60)\n"                                                                 \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     poll.registry.register(idle, Token(1), Interest.READABLE)\n"                          \
    "...     idle.set_after(0.001)\n"                                                              \
    "...     list(poll.poll())\n"                                                                  \
    "[<Event Token(1) readable>]\n"

#define SET_EVERY_DOC                                                                              \
    "set_every($self, seconds, /)\n--\n\n"                                                         \
    "Sets it anew, to expire again and again, so many seconds apart, from now on.\n\n" SETS_DOC    \
    "Parameters as of `every`, and its errors; " SET_RAISES_DOC

#define SET_AT_DOC                                                                                 \
    "set_at($self, deadline, /)\n--\n\n"                                                           \
    "Sets it anew, to expire once, at a time of `time.monotonic()`.\n\n" SETS_DOC                  \
    "Parameters as of `at`, and its errors; " SET_RAISES_DOC

#define CANCEL_DOC                                                                                 \
    "cancel($self, /)\n--\n\n"                                                                     \
    "Stops it: nothing comes any more, also not from the rest of a batch, until it is set anew.\n" \
    "\n"                                                                                           \
    "It stays registered. To cancel twice, or after the Poll was closed, changes nothing.\n\n"     \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     timer = Timer.after(0)\n"                                                             \
    "...     poll.registry.register(timer, Token(1), Interest.READABLE)\n"                         \
    "...     events = poll.poll()\n"                                                               \
    "...     timer.cancel()\n"                                                                     \
    "...     list(events)\n"                                                                       \
    "[]\n"

#define CLOSE_DOC                                                                                  \
    "close($self, /)\n--\n\n"                                                                      \
    "Stops it and ends its registration, if it has one.\n\n"                                       \
    "To close twice, or after the Poll was closed, changes nothing. It can be set and "            \
    "registered\n"                                                                                 \
    "again.\n\n"                                                                                   \
    ">>> from pollster import Interest, Poll, Timer, Token\n"                                      \
    ">>> with Poll() as poll:\n"                                                                   \
    "...     timer = Timer.after(0)\n"                                                             \
    "...     poll.registry.register(timer, Token(1), Interest.READABLE)\n"                         \
    "...     timer.close()\n"                                                                      \
    "...     len(poll.poll(timeout=0)), list(poll.registry)\n"                                     \
    "(0, [])\n"

#define EXPIRATIONS_DOC                                                                            \
    "expirations($self, /)\n--\n\n"                                                                \
    "Returns how often it has expired since this was last asked, and begins at 0 again.\n\n"       \
    "An expiration counts when a poll reports it: after an event it is at least 1, and more "      \
    "than\n"                                                                                       \
    "1 where periods of `every` were missed.\n\n"                                                  \
    ">>> from pollster import Timer\n"                                                             \
    ">>> Timer.after(0).expirations()\n"                                                           \
    "0\n"

#endif
