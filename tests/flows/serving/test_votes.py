"""Blind votes over HTTP and on the page: no name is told, each pair takes one vote, and votes are kept."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.registry.votes import VOTES, read_votes
from tests.flows.conftest import genai, shell
from tests.flows.serving.browser import context_of, faults, needs_chromium, shown
from tests.flows.serving.served import Server, save_tiny_model, serving


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("votes")
    shell(folder, "git init -q && git commit -q --allow-empty -m first")
    save_tiny_model(folder / "old", "gan")
    save_tiny_model(folder / "new", "vae")
    save_tiny_model(folder / "same", "gan")
    save_tiny_model(folder / "other", "gan", classes=("x", "y", "z"), seed=2)
    return folder


@pytest.fixture(scope="module")
def blind(home: Path) -> Iterator[Server]:
    with serving("old", "new", workspace=home, options=("--blind",)) as found:
        yield found


def test_a_pair_tells_no_name_and_takes_one_vote(blind: Server, home: Path) -> None:
    before = len(read_votes(home).votes)
    with blind.client() as client:
        pair = client.get("/v1/votes/pair")
        assert pair.headers["cache-control"] == "no-store"
        values = pair.json()
        assert set(values) == {"pair", "class", "left", "right"}
        for side in ("left", "right"):
            content = base64.b64decode(values[side]["b64"])
            assert b"tEXt" not in content
            assert b"genai" not in content
        answer = client.post("/v1/votes", json={"pair": values["pair"], "answer": "left", "who": " Ann \n B "})
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"vote"}
        again = client.post("/v1/votes", json={"pair": values["pair"], "answer": "right"})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "pair_closed")
        table = client.get("/v1/votes").json()
    (vote,) = read_votes(home).votes[before:]
    assert (vote.who, vote.answer, vote.class_name) == ("Ann B", "left", values["class"])
    assert {vote.left.name, vote.right.name} == {"old", "new"}
    assert table["votes"] == before + 1
    # The kept record is enough to see both pictures again.
    for side, model in (("left", vote.left), ("right", vote.right)):
        drawn = blind.draw(model=model.name, seed=vote.seed, **{"class": vote.class_name}).json()["images"][0]
        assert drawn["provenance"]["model_sha256"] == model.sha256
        assert pixels_of(drawn["b64"]) == pixels_of(values[side]["b64"])


def pixels_of(b64: str) -> bytes:
    from tests.flows.serving.served import pixels

    return pixels(b64).tobytes()


def test_sides_and_classes_are_by_chance(blind: Server, home: Path) -> None:
    with blind.client() as client:
        pairs = [client.get("/v1/votes/pair").json() for _ in range(24)]
        assert len({pair["class"] for pair in pairs}) > 1
        before = len(read_votes(home).votes)
        for pair in pairs:
            client.post("/v1/votes", json={"pair": pair["pair"], "answer": "tie"})
    lefts = {vote.left.name for vote in read_votes(home).votes[before:]}
    assert lefts == {"old", "new"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pair": "0" * 32, "answer": "left"}, 409),
        ({"pair": "../etc", "answer": "left"}, 422),
        ({"pair": "0" * 32, "answer": "both"}, 422),
        ({"pair": "0" * 32, "answer": "left", "who": "x" * 81}, 422),
        ({"pair": "0" * 32}, 422),
    ],
)
def test_wrong_votes_are_refused(blind: Server, body: dict, status: int) -> None:
    with blind.client() as client:
        answer = client.post("/v1/votes", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_vote_that_cannot_be_written_may_be_given_again(blind: Server, home: Path) -> None:
    kept = (home / VOTES).read_bytes() if (home / VOTES).exists() else b""
    with blind.client() as client:
        pair = client.get("/v1/votes/pair").json()["pair"]
        (home / VOTES).unlink(missing_ok=True)
        (home / VOTES).mkdir(parents=True)
        answer = client.post("/v1/votes", json={"pair": pair, "answer": "left"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert str(home) not in answer.text
        (home / VOTES).rmdir()
        (home / VOTES).write_bytes(kept)
        assert client.post("/v1/votes", json={"pair": pair, "answer": "left"}).status_code == 200


def test_a_server_without_blind_takes_no_votes(server: Server) -> None:
    with server.client() as client:
        answer = client.get("/v1/votes/pair")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_blind")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("old",), "--blind needs at least two models"),
        (("old", "same"), "old and same have the same weights"),
        (("old", "other"), "old and other have no class in common"),
    ],
)
def test_models_that_cannot_be_compared(home: Path, models: tuple[str, ...], message: str) -> None:
    answer = genai(home, "serve", "--blind", "--port", "0", *(str(home / model) for model in models), forked=False)
    assert answer.returncode == 2
    assert message in answer.stderr


@needs_chromium
def test_one_key_is_a_vote_on_the_page(browser, blind: Server, home: Path) -> None:
    with context_of(browser) as context:
        found = shown(context, blind.address)
        page = found.page
        page.goto(f"{blind.address}/votes")
        page.fill("#who", "carl")
        page.locator("#who").press("Tab")
        before = len(read_votes(home).votes)
        for number, (key, _) in enumerate(KEYS, start=1):
            page.wait_for_selector("#left:not([disabled])")
            page.keyboard.press(key)
            page.locator("#status", has_text=f"{number} vote").wait_for()
        page.wait_for_selector("#left:not([disabled])")
        page.click("#right")
        page.locator("#status", has_text="5 votes").wait_for()
        assert found.problems == []
        assert found.elsewhere == []
    votes = read_votes(home).votes[before:]
    assert [vote.answer for vote in votes] == [*(answer for _, answer in KEYS), "right"]
    assert {vote.who for vote in votes} == {"carl"}


@needs_chromium
@pytest.mark.parametrize(("phone", "dark"), [(False, False), (True, True)])
def test_the_page_of_votes_has_no_accessibility_fault(browser, blind: Server, phone: bool, dark: bool) -> None:
    with context_of(browser, phone=phone, dark=dark) as context:
        page = shown(context, blind.address).page
        page.goto(f"{blind.address}/votes")
        page.wait_for_selector("#left:not([disabled])")
        assert faults(page) == []


KEYS = (("ArrowLeft", "left"), ("ArrowRight", "right"), ("ArrowDown", "tie"), ("s", "skip"))
