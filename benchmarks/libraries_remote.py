"""Which objects a remote has: flows/data/sizes.py beside dvc_data, at a server of S3's protocol that answers slowly."""

import hashlib
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from benchmarks.libraries_runs import Comparison, compare
from flows.data.objects import JOBS
from flows.data.sizes import sizes_at

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

ANSWER_S = 0.05  # a store in the same part of the world
BUCKET = "images"
ASKED = 100
PAGE_OBJECTS = 1000


class SlowStore(BaseHTTPRequestHandler):
    """The two requests of S3's protocol that look for objects, ListObjectsV2 and HeadObject, each answered late.

    Not moto: to list 1,000 objects takes it more than a second of the processor.
    """

    protocol_version = "HTTP/1.1"
    server: "Store"

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        keys, prefix = self.server.keys, query.get("prefix", "")
        begin = bisect_left(keys, max(prefix, query.get("continuation-token", "")))
        page = list(takewhile(lambda key: key.startswith(prefix), keys[begin : begin + PAGE_OBJECTS + 1]))
        more = f"<NextContinuationToken>{page.pop()}</NextContinuationToken>" if len(page) > PAGE_OBJECTS else ""
        self._answer(
            f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}"
            + "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in page)
            + "</ListBucketResult>"
        )

    def do_HEAD(self) -> None:
        key = urlsplit(self.path).path.removeprefix(f"/{BUCKET}/")
        at = bisect_left(self.server.keys, key)
        self._answer("x", 200 if self.server.keys[at : at + 1] == [key] else 404)

    def _answer(self, body: str, status: int = 200) -> None:
        self.server.requests += 1
        time.sleep(ANSWER_S)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


class Store(ThreadingHTTPServer):
    """keys: of the objects, sorted."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), SlowStore)
        self.keys, self.requests = keys, 0


def compare_remote(objects: int, rounds: int) -> Iterator[Comparison]:
    """Look for ASKED objects at a remote that has them and `objects` others: by the wall's clock, and the requests."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.status import status

    wanted = [hashlib.md5(f"wanted {number}".encode()).hexdigest() for number in range(ASKED)]
    others = [hashlib.md5(f"other {number}".encode()).hexdigest() for number in range(objects)]
    with slow_store([*wanted, *others]) as (server, store):

        def ours() -> set[str]:
            return set(sizes_at(store, wanted))

        def theirs() -> set[str]:
            store.fs.fs.invalidate_cache()
            found = status(store, [HashInfo("md5", oid) for oid in wanted], jobs=JOBS)
            return {info.value for info in found.exists}

        counts = []
        for ask in (ours, theirs):
            before = server.requests
            assert ask() == set(wanted)
            counts.append(server.requests - before)
        what = f"{ASKED} objects among {objects:,} others at a remote"
        yield compare(f"{what}, by the clock", ours, "dvc_data", theirs, rounds=rounds, clock=time.perf_counter)
        yield Comparison(f"{what}, in requests", counts[0], "dvc_data", counts[1], "requests")


@contextmanager
def slow_store(oids: list[str]) -> Iterator[tuple[Store, "HashFileDB"]]:
    from dvc_data.hashfile.db import HashFileDB
    from dvc_s3 import S3FileSystem

    with Store(sorted(f"files/md5/{oid[:2]}/{oid[2:]}" for oid in oids)) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            keys = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
            fs = S3FileSystem(url=f"s3://{BUCKET}", endpointurl=f"http://127.0.0.1:{server.server_port}", **keys)
            yield server, HashFileDB(fs, f"{BUCKET}/files/md5")
        finally:
            server.shutdown()
            serving.join()
