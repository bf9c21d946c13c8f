"""The notebooks in real JupyterLab, in real Chromium: what a person sees."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab server on an empty home, with the notebooks copied into its root folder."""
    work = tmp_path / "work"
    shutil.copytree(ROOT / "notebooks", work)
    port = free_port()
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
    }
    (tmp_path / "home").mkdir()
    log = (tmp_path / "lab.log").open("w")
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    options += [
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={work}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options], cwd=work, env=environment, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(360):
            try:
                with urllib.request.urlopen(f"{url}/api/status", timeout=2):
                    break
            except (urllib.error.URLError, OSError):
                if server.poll() is not None:
                    pytest.fail((tmp_path / "lab.log").read_text())
                time.sleep(0.5)
        else:
            pytest.fail("no answer within three minutes:\n" + (tmp_path / "lab.log").read_text())
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()


@dataclass(frozen=True)
class Seen:
    """What a notebook's page shows: sizes of its pictures, its videos' state and length, tables, bars."""

    pictures: list[list[int]]
    videos: list[list]
    tables: list[str]
    bars: list[str]


@pytest.fixture
def screenshots(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where pictures of the page go: a folder of the test in LITAKIT_SCREENSHOTS, if that is set."""
    return Path(os.environ.get("LITAKIT_SCREENSHOTS", tmp_path)) / request.node.name


def run_in_lab(lab: str, name: str, screenshots: Path) -> Seen:
    """Run every cell of a notebook in JupyterLab, and look at the page."""
    from playwright.sync_api import sync_playwright

    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.goto(f"{lab}/lab/tree/{name}")
        # JupyterLab shows cells one after another, and runs those that it has.
        page.wait_for_function(
            "cells => document.querySelectorAll('.jp-CodeCell').length === cells", arg=cells, timeout=120_000
        )
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            prompts = page.eval_on_selector_all(
                ".jp-CodeCell .jp-InputPrompt", "nodes => nodes.map(node => node.textContent)"
            )
            done = [text for text in prompts if text and text.strip("[]: ").isdigit()]
            if len(done) == cells or page.query_selector(
                ".jp-RenderedText[data-mime-type*=stderr] .ansi-red-fg"
            ):
                break
            page.wait_for_timeout(500)
        page.wait_for_timeout(1500)
        errors = page.eval_on_selector_all(
            "[data-mime-type$='jupyter.error'], [data-mime-type$='jupyter.stderr']",
            "nodes => nodes.map(node => node.textContent)",
        )
        pictures = page.eval_on_selector_all(
            ".jp-OutputArea img", "nodes => nodes.map(node => [node.naturalWidth, node.naturalHeight])"
        )
        videos = page.eval_on_selector_all(
            ".jp-OutputArea video",
            "nodes => nodes.map(node => [node.readyState, node.duration, node.error?.message])",
        )
        tables, bars = (
            page.eval_on_selector_all(selector, "nodes => nodes.map(node => node.textContent)")
            for selector in (".jp-OutputArea table", ".jp-OutputArea .widget-html")
        )
        screenshots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(screenshots / "page.png"))
        for number, output in enumerate(page.query_selector_all(".jp-CodeCell")):
            output.scroll_into_view_if_needed()
            output.screenshot(path=str(screenshots / f"cell_{number:02d}.png"))
        browser.close()
    assert errors == []
    assert len(done) == cells, f"only {len(done)} of {cells} code cells finished: {prompts}"
    return Seen(pictures, videos, tables, bars)


def test_quickstart_plays_its_video_and_shows_its_pictures(lab: str, screenshots: Path) -> None:
    seen = run_in_lab(lab, "00_quickstart.ipynb", screenshots)
    assert len(seen.pictures) >= 3, f"expected the spans twice and the boundaries once, got {seen.pictures}"
    assert all(width > 400 for width, _ in seen.pictures)
    assert [ready >= 1 and length > 5 for ready, length, _ in seen.videos] == [True], (
        f"the video does not play: {seen.videos}"
    )


def test_data_is_prepared_with_tables_and_bars(lab: str, screenshots: Path) -> None:
    seen = run_in_lab(lab, "01_prepare_data.ipynb", screenshots)
    assert len(seen.pictures) == 2
    assert all(width > 400 for width, _ in seen.pictures)
    assert any("3 videos" in table or "missing" in table for table in seen.tables), seen.tables
    assert any("event_loc" in table and "seen" in table for table in seen.tables), "what an epoch draws"
    assert sum("100%" in bar for bar in seen.bars) >= 2, f"opening and encoding, to their ends: {seen.bars}"
