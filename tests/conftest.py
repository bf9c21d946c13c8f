"""What every test may use, and the count of what was skipped.

A test that needs a system package or a device carries a marker: `browser`, `node`, `java`, `compiler`, `gpu`.
Where the need is not met it is skipped, loudly; with `LITAKIT_STRICT=1`, as in CI, any skip but for a GPU
fails.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

GOLDEN = Path(__file__).parent / "golden"
NEEDS = {
    "browser": (
        ("chromium", "chromium-browser", "google-chrome"),
        "Chromium (Debian: apt-get install chromium)",
    ),
    "node": (("node",), "Node (Debian: apt-get install nodejs)"),
    "java": (("java",), "Java (Debian: apt-get install default-jre-headless)"),
    "compiler": (("c++", "g++", "clang++"), "a C++ compiler (Debian: apt-get install g++)"),
}
SKIPS = pytest.StashKey[list[tuple[str, bool]]]()

# A shared machine makes single examples slow; that is no fault of the law under test.
settings.register_profile("litakit", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("litakit")

# Tests reach no hub, and a library that tries says so at once.
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, (commands, need) in NEEDS.items():
        if not any(map(shutil.which, commands)):
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=f"needs {need}"))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not has_gpu():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if report.skipped:
        collector.config.stash[SKIPS].append((reason_of(report), False))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        item.config.stash[SKIPS].append((reason_of(report), item.get_closest_marker("gpu") is not None))
    return report


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    where = report.longrepr
    reason = where[2] if isinstance(where, tuple) else str(where)
    return reason.removeprefix("Skipped: ")


def is_strict() -> bool:
    return os.environ.get("LITAKIT_STRICT", "") not in ("", "0")


def pytest_sessionfinish(session: pytest.Session) -> None:
    forbidden = [reason for reason, needs_gpu in session.config.stash[SKIPS] if not needs_gpu]
    if (
        forbidden
        and is_strict()
        and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skips = config.stash[SKIPS]
    if not skips:
        return
    terminalreporter.section("skipped, by reason", yellow=True)
    for (reason, _), count in Counter(skips).most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")
    if is_strict() and not all(needs_gpu for _, needs_gpu in skips):
        terminalreporter.write_line(
            "LITAKIT_STRICT allows no skip but for a GPU: this run has failed", red=True
        )


@pytest.fixture(autouse=True, scope="session")
def litakit_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches of the tests stay in a folder of their own."""
    home = tmp_path_factory.mktemp("litakit-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITAKIT_HOME", str(home))
        yield home
