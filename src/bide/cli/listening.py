"""Where a process that stays listens."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Generator

import uvicorn

from bide.cli.complaints import CliError

_BACKLOG = 1024


class Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_of(listener: socket.socket) -> str:
    """The address of what listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """Listen before anything is opened, so that a port that is taken is said at once."""
    address = host.strip("[]")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CliError(f"cannot listen on {host}: {error.strerror}") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as error:
            hint = "; --port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
            raise CliError(
                f"cannot listen on {host}, port {port}: {error.strerror}{hint}"
            ) from error
        yield listener
