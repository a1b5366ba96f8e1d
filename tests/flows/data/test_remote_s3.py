"""Push, pull, verify and add with the real DVC and an S3 server on loopback."""

import hashlib
import io
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from flows.data import sizes
from flows.data.objects import RemoteError
from flows.data.remote import pull, push, verify
from flows.data.stores import add_default_remote, opened_remote
from tests.flows.clones import add_many, contents, fresh_clone
from tests.flows.conftest import DVC_WARNS, genai, started_genai, wait_for

pytestmark = DVC_WARNS

BUCKET = "images"
MANY = 160  # enough that a push can be killed in its middle


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["boto3.client"]:
    """A client of an S3 server with one bucket. DVC finds server and keys through environment variables."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    if left := keys(client):
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in left]})
    client.delete_bucket(Bucket=BUCKET)


def keys(client: "boto3.client") -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.mark.long
def test_killed_push_lost_object_and_damaged_object(fresh: Path, s3: "boto3.client", tmp_path: Path) -> None:
    add_many(fresh, MANY)
    with started_genai(fresh, "data", "push", "--to", f"s3://{BUCKET}/toy") as process:
        wait_for(lambda: len(keys(s3)) > 20)
        process.send_signal(signal.SIGKILL)
        process.wait(10.0)
    there = len(keys(s3))
    assert 20 < there < MANY, "the push was not killed in its middle"
    done = push(fresh)
    assert done.sent >= done.objects - there - 64  # what was under way when it was killed may have arrived
    assert len(keys(s3)) == done.objects

    lost, damaged = [key for key in keys(s3) if not key.endswith(".dir")][:2]
    s3.delete_object(Bucket=BUCKET, Key=lost)
    size = s3.head_object(Bucket=BUCKET, Key=damaged)["ContentLength"]
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=b"x" * size)
    found = {fault.oid: fault.what for fault in verify(fresh, content=True).faults}
    assert found == {oid_of(lost): "missing", oid_of(damaged): "damaged: wrong content"}

    clone = fresh_clone(fresh, tmp_path / "clone")
    shutil.copy(fresh / ".dvc" / "config", clone / ".dvc")
    with pytest.raises(RemoteError, match="damaged"):
        pull(clone)
    assert push(fresh, content=True).sent == 2
    pull(clone)
    assert contents(clone) == contents(fresh)


@pytest.mark.parametrize("page_objects", [1000, 10, 1])
def test_sizes_are_the_same_for_every_way_of_listing(
    fresh: Path, s3: "boto3.client", monkeypatch: pytest.MonkeyPatch, page_objects: int
) -> None:
    """List all at once, list the needed folders, or ask for each object."""
    monkeypatch.setattr(sizes, "PAGE_OBJECTS", page_objects)
    there = {hashlib.md5(bytes([number])).hexdigest(): number + 1 for number in range(100)}
    foreign = {f"00{number:030x}": 1 for number in range(1000, 1003)}
    absent = [f"{number:032x}" for number in range(5)]
    for oid, size in {**there, **foreign}.items():
        s3.put_object(Bucket=BUCKET, Key=f"toy/files/md5/{oid[:2]}/{oid[2:]}", Body=b"x" * size)
    lists: list[str] = []
    add_default_remote(fresh, f"s3://{BUCKET}/toy")
    with opened_remote(fresh, None) as (_, store):
        find = store.fs.fs.find
        monkeypatch.setattr(store.fs.fs, "find", lambda path, **how: [lists.append(path), find(path, **how)][1])
        assert sizes.sizes_at(store, [*there, *absent]) == there
    folders = {oid[:2] for oid in (*there, *absent)}
    assert len(lists) == {1000: 2, 10: len(folders), 1: 1}[page_objects]


@pytest.mark.usefixtures("s3")
def test_errors_are_one_line(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_default_remote(fresh, "s3://no-such-bucket/toy")
    with pytest.raises(RemoteError, match=r"s3://no-such-bucket/toy: The specified bucket does not exist"):
        push(fresh)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    answer = genai(fresh, "data", "push")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert "credentials" in answer.stderr


def test_images_are_added_from_a_bucket(fresh: Path, s3: "boto3.client", tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("hat/1.png", "hat/2.png", "shoe/1.png"):
            content = io.BytesIO()
            Image.new("L", (9, 9), len(archive.namelist()) * 40).save(content, "png")
            archive.writestr(name, content.getvalue())
    s3.upload_file(str(tmp_path / "photos.zip"), BUCKET, "in/photos.zip")
    answer = genai(fresh, "data", "add", f"s3://{BUCKET}/in/photos.zip")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "3 images added" in answer.stdout
    assert "hat 2, shoe 1" in answer.stdout
    assert f"s3://{BUCKET}/in/photos.zip" in (fresh / "data" / "raw" / "photos" / "source.json").read_text()

    answer = genai(fresh, "data", "add", "s3://no-such-bucket/photos.zip")
    assert answer.returncode == 2
    assert "s3://no-such-bucket/photos.zip: DVC could not fetch it; nothing was added" in answer.stderr
    assert "Traceback" not in answer.stderr
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    answer = genai(fresh, "data", "add", f"s3://{BUCKET}/in/photos.zip", **nobody)
    assert answer.returncode == 2
    assert "credentials" in answer.stderr
    assert "Traceback" not in answer.stderr


def oid_of(key: str) -> str:
    return "".join(key.split("/")[-2:])
