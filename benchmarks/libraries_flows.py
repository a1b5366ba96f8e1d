"""The code of flows/ beside httpx, Apprise, rich and dvc_data: whole processes, and the hash of a folder."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.libraries_runs import Comparison, compare, compare_processes
from flows.hashes import folder_hash

REQUEST = "from flows.services.api import api_at; api_at({url!r}).get('health')"
HTTPX = "import httpx; httpx.get({url!r} + '/health').raise_for_status().json()"

NOTIFY = """
from flows.watching.notify import Event, NotifyConfig, notify
config = NotifyConfig(kinds=['failed'], blocks=[], webhook={url!r}, email=None)
assert notify(Event('failed', 'title', 'text'), config) == ()
"""
APPRISE = """
import apprise
services = apprise.Apprise()
services.add({url!r}.replace('http', 'json', 1))
assert services.notify('text', 'title')
"""

ROWS = "rows = [(str(n), 'a model', f'{n / 7:.3f}', 'promoted') for n in range(20)]"
RICH = f"from flows.table import print_table; {ROWS}; print_table(rows, ('n', 'model', 'FD', 'state'), right=(0, 2))"
PLAIN = f"import click; {ROWS}; [click.echo('  '.join(cell.ljust(9) for cell in row)) for row in rows]"


def compare_flows(files: int, rounds: int) -> Iterator[Comparison]:
    """files: how many a folder has whose hash is made."""
    with answering_server() as url:
        yield compare_processes(
            "a process that sends one request", REQUEST.format(url=url), "httpx", HTTPX.format(url=url), rounds=rounds
        )
        yield compare_processes(
            "a process that posts one event", NOTIFY.format(url=url), "Apprise", APPRISE.format(url=url), rounds=rounds
        )
    yield compare_processes("a process that prints 20 rows, by rich", RICH, "str.ljust", PLAIN, rounds=rounds)
    yield from compare_folder_hashes(files, rounds)


def compare_folder_hashes(files: int, rounds: int) -> Iterator[Comparison]:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    listing = {f"{number % 10}/{number:06d}.png": f"{number:032x}" for number in range(files)}

    def digest() -> str:
        tree = Tree()
        for path, md5 in listing.items():
            tree.add(tuple(path.split("/")), None, HashInfo("md5", md5))
        tree.digest()
        return str(tree.hash_info.value)

    def plain() -> str:
        entries = [{"md5": md5, "relpath": path} for path, md5 in sorted(listing.items())]
        return f"{hashlib.md5(json.dumps(entries).encode()).hexdigest()}.dir"

    assert folder_hash(listing) == digest() == plain()
    what = f"DVC's hash of a folder of {files:,} files, by Tree.as_bytes"
    for name, other in (("Tree.digest", digest), ("json and hashlib alone", plain)):
        yield compare(what, lambda: folder_hash(listing), name, other, rounds=rounds)


class Answers(BaseHTTPRequestHandler):
    """true to each GET and POST."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")

    do_POST = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None: ...


@contextmanager
def answering_server() -> Iterator[str]:
    """The address of a server in this process, whose time is not counted to those that ask it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
