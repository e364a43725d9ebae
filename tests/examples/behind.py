"""What stands behind a proxy in the tests: nginx, which serves a folder."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from served import PATIENCE, Address

CONFIGURATION = """
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
}}
"""


def unused() -> Address:
    """Returns an address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: Address = listener.getsockname()
    return address


@contextlib.contextmanager
def nginx(folder: Path, root: Path) -> Iterator[Address]:
    """Runs nginx; another port is taken where somebody was faster."""
    deadline = time.monotonic() + PATIENCE
    while True:
        address = unused()
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(port=address[1], root=root))
        command = ["nginx", "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            while running.poll() is None:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(address).close()
                    yield address
                    return
            _, complaint = running.communicate()
            assert time.monotonic() < deadline, complaint.decode()
        finally:
            running.kill()
            running.communicate()
