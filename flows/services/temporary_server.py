"""Prefect's temporary server, on a port of the kernel's choice: it is bound before it is named, so nobody can take it.

    python -P temporary_server.py

Prints the port, then serves what Prefect runs as its temporary server. Not listening yet, it refuses connections while
Prefect is imported.
"""

import socket
import sys


def main() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        print(sock.getsockname()[1], flush=True)
        import uvicorn

        server = uvicorn.Server(
            uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
        )
        server.run(sockets=[sock])
        return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
