"""Draws traces as SVG, light and dark.

Owns how a picture looks; what it shows comes from `runs.py`. Each file has its trace inside.
"""

import html
import json

from runs import TRIGGER_STEPS, Trace

WIDTH = 720
STYLE = """
  svg { font: 13px system-ui, sans-serif; color-scheme: light dark; }
  .ground { fill: #ffffff; stroke: #d0d7de; }
  .ink { fill: #1f2328; }
  .dim { fill: #59636e; }
  .code { font: 12px ui-monospace, monospace; fill: #1f2328; }
  .small { font-size: 11px; }
  .rule { stroke: #d0d7de; fill: none; }
  .arrow { stroke: #59636e; fill: none; stroke-width: 1.5; }
  .head { fill: #59636e; }
  .one { fill: #ddf4ff; stroke: #0969da; }
  .two { fill: #fff1e5; stroke: #bc4c00; }
  .three { fill: #dafbe1; stroke: #1a7f37; }
  .none { fill: #f6f8fa; stroke: #afb8c1; }
  .told { fill: #0969da; }
  .untold { fill: none; stroke: #afb8c1; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d; }
    .ink, .code { fill: #f0f6fc; }
    .dim, .head { fill: #9198a1; }
    .rule { stroke: #3d444d; }
    .arrow { stroke: #9198a1; }
    .one { fill: #121d2f; stroke: #4493f8; }
    .two { fill: #221a19; stroke: #db6d28; }
    .three { fill: #12261e; stroke: #3fb950; }
    .none { fill: #151b23; stroke: #656c76; }
    .told { fill: #4493f8; }
    .untold { stroke: #656c76; }
  }
"""


class Picture:
    """The elements of one picture, as they are drawn."""

    def __init__(self) -> None:
        self.elements: list[str] = []

    def text(self, x: float, y: float, what: object, kind: str = "ink", at: str = "start") -> None:
        """Writes a line."""
        self.elements.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{at}">'
            f"{html.escape(str(what), quote=False)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draws a box with round corners."""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" '
            f'class="{kind}"/>'
        )

    def line(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Draws a thin line."""
        self.elements.append(f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}" class="rule"/>')

    def arrow(self, x: float, y: float, to_y: float) -> None:
        """Draws an arrow downwards."""
        self.elements.append(
            f'<path d="M{x:g} {y:g}V{to_y - 5:g}" class="arrow"/>'
            f'<path d="M{x - 4:g} {to_y - 7:g}h8l-4 7z" class="head"/>'
        )

    def dot(self, x: float, y: float, *, is_told: bool) -> None:
        """Draws a poll: full where it told something, else a ring."""
        kind = "told" if is_told else "untold"
        self.elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="6" class="{kind}"/>')

    def finish(self, title: str, height: float, traces: dict[str, Trace]) -> str:
        """Returns the file."""
        inside = html.escape(json.dumps(traces, sort_keys=True), quote=False)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
                f'width="{WIDTH}" height="{height:g}" role="img">',
                f"<title>{html.escape(title)}</title>",
                f"<metadata>{inside}</metadata>",
                f"<style>{STYLE}</style>",
                f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8" '
                'class="ground"/>',
                *self.elements,
                "</svg>\n",
            ]
        )


STATES = {"not registered": "none", "armed": "three", "not armed": "two", "paused": "one"}


def life(traces: dict[str, Trace]) -> str:
    """Draws the states from top to bottom, what led to each, and what was told."""
    picture, [trace, *_] = Picture(), traces.values()
    for number, step in enumerate(trace):
        y = 20 + number * 52
        picture.box(280, y, 160, 28, STATES[step["state"]])
        picture.text(360, y + 19, step["state"], at="middle")
        if number:
            picture.arrow(360, y - 24, y)
            picture.text(345, y - 8, step["what"], "code", "end")
        if step["told"]:
            picture.dot(470, y + 14, is_told=True)
            picture.text(486, y + 18, f"the event: {step['told']}")
        elif "poll" in step["what"]:
            picture.dot(470, y + 14, is_told=False)
            picture.text(486, y + 18, "nothing is told", "dim")
    return picture.finish("The life of a registration", 20 + len(trace) * 52, traces)


def triggers(traces: dict[str, Trace]) -> str:
    """Draws the buffer over time, and under it which polls told of it, for each trigger."""
    picture, [trace, *_] = Picture(), traces.values()
    left, step, ground = 130, (WIDTH - 150) / len(TRIGGER_STEPS), 120
    highest = max(one["buffer"] for one in trace)
    picture.text(20, 60, "bytes in")
    picture.text(20, 77, "the buffer")
    for number, one in enumerate(trace):
        x = left + number * step
        if one["buffer"]:
            height = 64 * one["buffer"] / highest
            picture.box(x + 1, ground - height, step - 2, height, "one")
            picture.text(x + step / 2, ground - height + 14, one["buffer"], "ink small", "middle")
        if one["what"] != "poll":
            verb, _, count = one["what"].partition(" ")
            row = 24 if verb == "reregister" else 38
            shown = "rereg." if verb == "reregister" else f"{verb} {count}"
            picture.text(x + step / 2, row, shown, "dim small", "middle")
    picture.line(left, ground, WIDTH - 20, ground)
    for lane, name in enumerate(("LEVEL", "EDGE", "ONESHOT", "EDGE_ONESHOT")):
        y = ground + 30 + lane * 32
        picture.text(20, y + 4, name, "code")
        picture.line(left, y, WIDTH - 20, y)
        for number, one in enumerate(trace):
            if name in one["told"]:
                picture.dot(left + (number + 0.5) * step, y, is_told=one["told"][name])
    y = ground + 30 + 4 * 32 + 8
    picture.dot(left + 8, y, is_told=True)
    picture.text(left + 22, y + 4, "a poll that reports it", "dim")
    picture.dot(left + 190, y, is_told=False)
    picture.text(left + 204, y + 4, "a poll that reports nothing", "dim")
    return picture.finish("Level, edge and one-shot in time", y + 24, traces)


def half_close(traces: dict[str, Trace]) -> str:
    """Draws a row for each step: what epoll said, what kqueue said, and the one Event of both."""
    picture = Picture()
    columns = {"what happens": 20, "epoll": 240, "kqueue": 360, "the Event": 540}
    for name, x in columns.items():
        picture.text(x, 26, name, "dim")
    y = 38.0
    for of_epoll, of_kqueue in zip(traces["epoll"], traces["kqueue"], strict=True):
        said = [of_epoll["raw"][0].split("|"), of_kqueue["raw"], of_epoll["told"].split()]
        height = 16 + 17 * max(map(len, said))
        picture.line(20, y, WIDTH - 20, y)
        picture.text(20, y + 21, of_epoll["what"])
        kinds = ("three", "two", "one")
        widths = (106, 166, 168)
        for lines, kind, width, x in zip(
            said, kinds, widths, list(columns.values())[1:], strict=True
        ):
            picture.box(x - 8, y + 5, width, height - 10, kind)
            for number, line in enumerate(lines):
                picture.text(x, y + 21 + number * 17, line, "code")
        y += height
    return picture.finish("A half-close in time, on both kernels", y + 10, traces)


def layers(traces: dict[str, Trace]) -> str:
    """Draws the layers as boxes, with what the event is in each."""
    picture = Picture()
    epoll, kqueue = traces["epoll"][0], traces["kqueue"][0]

    def layer(y: float, name: str, where: str, shown: str, kind: str) -> None:
        picture.box(190, y, 510, 44, kind)
        picture.text(20, y + 20, name)
        picture.text(20, y + 36, where, "dim small")
        picture.text(445, y + 27, shown, "code", "middle")

    layer(20, "the peer", "another process", "peer.send(b'hello')", "none")
    picture.arrow(445, 64, 92)
    picture.text(455, 82, "the kernel puts the data into our buffer", "dim small")
    for x, trace, kind in ((190, epoll, "three"), (450, kqueue, "two")):
        picture.box(x, 92, 250, 62, kind)
        structure, said = trace["raw"]
        picture.text(x + 125, 116, f"{structure}: {said}", "code", "middle")
        field = "udata" if structure == "kevent" else "data.u64"
        picture.text(x + 125, 138, f"{field} = {trace['mark']}", "code", "middle")
        picture.arrow(x + 125, 154, 186)
    picture.text(20, 112, "the kernel's queue")
    picture.text(20, 128, "epoll, or kqueue", "dim small")
    picture.text(455, 174, "one system call for the batch", "dim small", "middle")
    layer(186, "the back end", "C, a folder a kernel", "source, readiness, generation", "one")
    picture.arrow(445, 230, 262)
    picture.text(455, 250, "one number of 64 bits for each source", "dim small")
    layer(262, "the batch", "Events", epoll["told"], "one")
    picture.arrow(445, 306, 338)
    picture.text(455, 326, "if it is still registered by then", "dim small")
    layer(
        338,
        "your loop",
        "Python",
        f"event.token == {epoll['token']}: recv() is {epoll['received']}",
        "none",
    )
    return picture.finish("The way of an event through the layers", 402, traces)


def demo(traces: dict[str, Trace]) -> str:
    """Draws a bar for each request, from when it was sent to its answer."""
    picture, [trace, *_] = Picture(), traces.values()
    longest = max(one["time"] for one in trace)
    scale = (WIDTH - 260) / longest
    for row, one in enumerate(sorted(trace, key=lambda one: int(one["told"]))):
        y = 20 + row * 36
        width = max(one["time"] * scale, 6)
        order = trace.index(one) + 1
        picture.text(20, y + 18, f"request {one['told']}")
        picture.box(110, y, width, 26, "one")
        text = f"{one['time']:.2f} s, answered as number {order}"
        inside = width > 250
        x = 110 + width + (-10 if inside else 10)
        picture.text(x, y + 18, text, at="end" if inside else "start")
    y = 20 + len(trace) * 36 + 8
    picture.text(110, y + 8, "All of them take as long as the longest one.", "dim")
    return picture.finish("The demo's requests in time", y + 26, traces)


def threads(traces: dict[str, Trace]) -> str:
    """Draws two threads side by side, once for each trigger, from top to bottom."""
    picture, [trace, *_] = Picture(), traces.values()
    lowest = 0.0
    for half, name in enumerate(("LEVEL", "ONESHOT")):
        left = 20 + half * 350
        picture.text(left + 165, 26, name, "code", "middle")
        for number, thread in enumerate("AB"):
            x = left + number * 168
            picture.text(x + 80, 48, f"thread {thread}", "dim", "middle")
        y = 60.0
        for step in (step for step in trace if step["trigger"] == name):
            x = left + "AB".index(step["thread"]) * 168
            is_poll = step["what"] == "poll()"
            kind = ("three" if step["told"] else "none") if is_poll else "one"
            said = step["told"] or ("nothing" if is_poll else "")
            picture.box(x, y, 160, 28, kind)
            picture.text(x + 10, y + 19, step["what"], "code")
            picture.text(x + 150, y + 19, said, "ink" if step["told"] else "dim", "end")
            y += 36
        lowest = max(lowest, y)
    return picture.finish("Two threads and one source", lowest + 8, traces)


DRAWINGS = {
    "life": life,
    "triggers": triggers,
    "half-close": half_close,
    "layers": layers,
    "demo": demo,
    "threads": threads,
}
