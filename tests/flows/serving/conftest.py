from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.serving.browser import CHROMIUM, Shown, context_of, shown
from tests.flows.serving.explored_home import Home, make_home
from tests.flows.serving.served import Server, save_tiny_model, serving
from tests.models.tiny import RECIPES

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of each family, and one without classes."""
    folder = tmp_path_factory.mktemp("served")
    for family in RECIPES:
        save_tiny_model(folder / family, family)
    save_tiny_model(folder / "plain", "gan", classes=())
    return folder


@pytest.fixture(scope="session")
def server(model_folders: Path) -> Iterator[Server]:
    """One server with all of them; `diffusion` is the first."""
    names = [str(model_folders / name) for name in (*RECIPES, "plain")]
    with serving(*names, workspace=model_folders) as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A workspace with real images and an extractor, and a model `stranger` of other images."""
    made = make_home(tmp_path_factory.mktemp("workspace"))
    save_tiny_model(made.folder / "models/stranger", "gan")
    return made


@pytest.fixture(scope="module")
def explored(home: Home) -> Iterator[Server]:
    """A server that can answer questions about its model `gan`."""
    with serving("gan", "stranger", workspace=home.folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One Chromium for the tests of a file: Playwright's event loop must end before tests that run one of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM)


@pytest.fixture
def shown_page(browser: "Browser", server: Server) -> Iterator[Shown]:
    """The page of the server on a desktop, not opened yet. At the end, nothing may have gone wrong in it."""
    with context_of(browser) as context:
        found = shown(context, server.address)
        yield found
        assert found.problems == []
        assert found.elsewhere == []
