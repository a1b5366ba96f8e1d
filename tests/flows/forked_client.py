"""Request a process from forked.py: python -IS forked_client.py FOLDER NAME ARGUMENT ...

Passes on its arguments, environment, folder and output, and exits like the forked process. Imports little, because it
is started for each command.
"""

import json
import os
import socket
import sys

request = json.dumps([sys.argv[2], sys.argv[3:], os.getcwd(), dict(os.environ)]).encode()  # noqa: PTH109 - pathlib loads slowly
os.chdir(sys.argv[1])  # the path of a socket is 107 bytes long at most
server = socket.socket(socket.AF_UNIX)
server.connect("socket")
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
status = int(server.recv(16))
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
