"""Prefect's temporary server, on a port of the kernel's choice: it is bound before it is named, so nobody can take it.

    python -P temporary_server.py [PORT]

Prints the port, then serves what Prefect runs as its temporary server. Not listening yet, it refuses connections while
Prefect is imported. PORT: that of one that was killed.
"""

import socket
import sys


def main() -> int:
    with socket.socket() as sock:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
        if port:  # connections of the one that was killed linger
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        print(sock.getsockname()[1], flush=True)
        import uvicorn

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                # For one that is started in its place. Not before it listens: two could bind one port until then.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        server = Server(
            uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
        )
        server.run(sockets=[sock])
        return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
