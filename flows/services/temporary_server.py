"""Prefect's temporary server, on a port that the kernel chooses. The port is bound before it is printed.

    python -P temporary_server.py [PORT]

Prints the port, then serves Prefect's API. Refuses connections while Prefect is imported, because it does not listen
yet. PORT: the port of a killed server that this one replaces.
"""

import socket
import sys


def main() -> int:
    with socket.socket() as sock:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
        if port:  # connections of the killed server linger
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        print(sock.getsockname()[1], flush=True)
        import uvicorn

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                # For a replacement. Not before this one listens: until then, two processes could bind the port.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        server = Server(
            uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
        )
        server.run(sockets=[sock])
        return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
