"""`pollster.asyncio` under programs that others wrote: aiohttp, uvicorn, httpx, anyio.

They are installed in the environments of tox that have `programs` in their names.
"""

import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_asyncio import LIMIT, run

NEEDS = "not installed: tox -e py313-programs-epoll has it"
MEGABYTES = 20


@contextlib.asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    from aiohttp import web

    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def aiohttp_application(file: Path) -> Any:
    from aiohttp import web

    async def hello(_: Any) -> Any:
        return web.Response(text="hello")

    async def length(request: Any) -> Any:
        total = 0
        async for chunk in request.content.iter_chunked(1 << 16):
            total += len(chunk)
        return web.json_response(total)

    async def echo(request: Any) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    async def send_file(_: Any) -> Any:
        return web.FileResponse(file)

    application = web.Application(client_max_size=1 << 30)
    application.router.add_get("/", hello)
    application.router.add_post("/length", length)
    application.router.add_get("/echo", echo)
    application.router.add_get("/file", send_file)
    return application


def test_aiohttp(backend: str, tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason=NEEDS)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 << 20))

    async def main() -> None:
        async with served(aiohttp_application(file)) as url, aiohttp.ClientSession() as session:

            async def hello() -> str:
                async with session.get(url) as response:
                    text: str = await response.text()
                    return text

            assert set(await asyncio.gather(*(hello() for _ in range(50)))) == {"hello"}
            async with session.post(
                f"{url}/length", data=io.BytesIO(bytes(MEGABYTES << 20))
            ) as response:
                assert await response.json() == MEGABYTES << 20
            async with session.get(f"{url}/file") as response:
                assert await response.read() == file.read_bytes()
            async with session.ws_connect(f"{url}/echo", max_msg_size=0) as websocket:
                for size in (0, 1, 1 << 10, 1 << 20):
                    await websocket.send_bytes(bytes(size))
                    assert await websocket.receive_bytes() == bytes(size)

    run(backend, main())


def test_httpx(backend: str, tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx", reason=NEEDS)
    pytest.importorskip("aiohttp", reason=NEEDS)

    async def main() -> None:
        async with (
            served(aiohttp_application(tmp_path)) as url,
            httpx.AsyncClient(trust_env=False, timeout=LIMIT) as client,
        ):
            found = await asyncio.gather(*(client.get(url) for _ in range(50)))
            assert {response.text for response in found} == {"hello"}
            response = await client.post(f"{url}/length", content=bytes(MEGABYTES << 20))
            assert response.json() == MEGABYTES << 20

    run(backend, main())


APPLICATION = """
import asyncio

async def application(scope, receive, send):
    name = type(asyncio.get_running_loop()).__module__.encode()
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})
"""


@contextlib.contextmanager
def uvicorn(backend: str, directory: Path, *options: str) -> Iterator[tuple[Any, str]]:
    (directory / "served.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "--lifespan", "off"]
    loop = ["--loop", "pollster.asyncio:new_event_loop", "--app-dir", str(directory)]
    environment = {**os.environ, "POLLSTER_BACKEND": backend}
    with subprocess.Popen(
        [*command, *loop, *options, "served:application"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        try:
            said = ""
            while not (found := re.search(r"running on http://(\S+:\d+)", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn(backend: str, tmp_path: Path, http: str, number: signal.Signals) -> None:
    pytest.importorskip("uvicorn", reason=NEEDS)
    pytest.importorskip(http, reason=NEEDS)
    httpx = pytest.importorskip("httpx", reason=NEEDS)
    with uvicorn(backend, tmp_path, "--http", http) as (process, address):
        with httpx.Client(trust_env=False, timeout=LIMIT) as client:
            for _ in range(20):
                assert client.get(f"http://{address}").text == "pollster.asyncio"
        process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT)
        assert "Finished server process" in said
        assert "Traceback" not in said
        assert process.returncode in {0, -number}


@pytest.mark.parametrize("implementation", ["websockets", "wsproto"])
def test_uvicorns_websockets(backend: str, tmp_path: Path, implementation: str) -> None:
    pytest.importorskip("uvicorn", reason=NEEDS)
    pytest.importorskip(implementation, reason=NEEDS)
    client = pytest.importorskip("websockets.sync.client", reason=NEEDS)
    with uvicorn(backend, tmp_path, "--ws", implementation) as (process, address):
        with client.connect(f"ws://{address}", proxy=None) as websocket:
            websocket.send("hello")
            assert websocket.recv(timeout=LIMIT) == "hello"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=LIMIT)
        assert "Finished server process" in said


ANYIO = """
import anyio, asyncio, pollster.asyncio

async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.001)
    assert isinstance(asyncio.get_running_loop(), pollster.asyncio.EventLoop)

anyio.run(main, backend_options={"loop_factory": pollster.asyncio.new_event_loop})
"""

RUN_APP = """
import asyncio, pollster.asyncio
from aiohttp import web

async def started(_):
    assert isinstance(asyncio.get_running_loop(), pollster.asyncio.EventLoop)
    raise web.GracefulExit

application = web.Application()
application.on_startup.append(started)
loop = pollster.asyncio.new_event_loop()
web.run_app(application, host="127.0.0.1", port=0, loop=loop)
assert loop.is_closed()
"""


@pytest.mark.parametrize(("name", "program"), [("anyio", ANYIO), ("aiohttp", RUN_APP)])
def test_a_framework_takes_the_factory(backend: str, name: str, program: str) -> None:
    pytest.importorskip(name, reason=NEEDS)
    environment = {**os.environ, "POLLSTER_BACKEND": backend}
    command = [sys.executable, "-c", program]
    subprocess.run(command, env=environment, check=True, timeout=LIMIT)


def test_pytest_asyncio_takes_the_factory(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("pytest_asyncio", reason=NEEDS)
    (tmp_path / "conftest.py").write_text(
        "import pollster.asyncio\n"
        "def pytest_asyncio_loop_factories(config, item):\n"
        "    return {'pollster': pollster.asyncio.new_event_loop}\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import asyncio, pytest, pollster.asyncio\n"
        "@pytest.mark.asyncio\n"
        "async def test_it():\n"
        "    assert isinstance(asyncio.get_running_loop(), pollster.asyncio.EventLoop)\n"
    )
    environment = {**os.environ, "POLLSTER_BACKEND": backend}
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", "."]
    done = subprocess.run(
        [*command, "."], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
