"""The chat: who is there, and what is said to all of them."""

import queue
import resource
import signal
import socket

from client import Client, printable

from pollster import Interest, Poll, Signals, Slab, Timer, Token, Waker

# A Slab's tokens begin at 2**32; those below are for constants.
SIGNALS, OPERATOR, AGAIN = Token(0), Token(1), Token(2)
FIRST_LISTENER = 3
AT_ONCE = 64  # clients that are taken before the others have their turn
TOLD = 16  # lines of the operator that wait; then the thread that reads them does
SPARE = 32  # descriptors that are not for clients
RETRY = 0.1  # seconds until the next try where no descriptor was left


class Chat:
    """Takes clients from any number of listeners, and passes on what each of them says."""

    def __init__(self, listeners: list[socket.socket], limit: int) -> None:
        self.poll = Poll()
        self.limit = limit
        self.clients: Slab[Client] = Slab()
        self.names = {"operator"}  # which nobody else is to have
        self.unsent: set[Client] = set()  # those to whom something was said in this turn
        self._most = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)
        self._listeners = {
            Token(number): listener for number, listener in enumerate(listeners, FIRST_LISTENER)
        }
        for token, listener in self._listeners.items():
            listener.setblocking(False)
            self.poll.registry.register(listener, token, Interest.READABLE)
        self._paused = self._stopping = False
        self._signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        self.poll.registry.register(self._signals, SIGNALS, Interest.READABLE)
        self._retry = Timer()
        self.poll.registry.register(self._retry, AGAIN, Interest.READABLE)
        self._told: queue.Queue[bytes] = queue.Queue(TOLD)
        self._waker = Waker(self.poll.registry, OPERATOR)

    def tell(self, line: bytes) -> None:
        """Says something to all, from any other thread; waits while too much is to be said."""
        self._told.put(line)
        self._waker.wake()

    def say(self, text: str) -> None:
        """Says a line to all; it is sent at the end of this turn."""
        line = text.encode() + b"\n"
        for client in self.clients.values():
            client.hear(line)

    def run(self) -> None:
        """Goes on until it is stopped."""
        while not self._stopping:
            for event in self.poll.poll():
                if event.token in self.clients:
                    self.clients[event.token].ready(event)
                elif event.token in self._listeners:
                    self._accept(self._listeners[event.token])
                elif event.token == OPERATOR:
                    for _ in range(self._told.qsize()):
                        self.say("operator: " + printable(self._told.get()))
                elif event.token == AGAIN:
                    self._resume()
                else:
                    self._signalled()
            while self.unsent:  # who is found gone meanwhile is told of, too
                self.unsent.pop().send()
        for client in self.clients.values():
            client.socket.close()

    def leave(self, client: Client, why: str) -> None:
        """Lets a client go, and tells the others."""
        self.poll.registry.deregister(client.socket)
        client.socket.close()
        del self.clients[client.token]
        self.names.remove(client.name)
        self.unsent.discard(client)
        self.say(f"* {client.name} {why}")
        self._resume()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            for listener in self._listeners.values():
                self.poll.registry.resume(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if len(self.clients) >= self._most:
                break  # when one leaves it goes on
            try:
                accepted, _address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it was gone before it was taken
            except OSError:  # no descriptor is left: others may have them
                self._retry.set_after(RETRY)
                break
            client = Client(self, accepted)
            self.say(f"* {client.name} is here")
        else:
            return
        self._paused = True
        for each in self._listeners.values():
            self.poll.registry.pause(each)

    def _signalled(self) -> None:
        taken = self._signals.take()
        if taken.pop(signal.SIGUSR1, 0):
            print(f"{len(self.clients)} connections, {self.poll.stats()}", flush=True)
        if taken:
            self._stopping = True
            self.say("* the chat ends")
