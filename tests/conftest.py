"""What every test has: the recorder, daemons, and hypothesis without deadlines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support import daemon as daemons
from support.daemon import Daemon
from support.endless import TABLE, endless
from support.raw_client import RawClient
from support.recorder import Recorder

settings.register_profile(
    "infd",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("infd")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config), "infd-recorder")


BOTH_PLACEMENTS = frozenset({
    "test_wire_contexts", "test_wire_execution", "test_wire_history", "test_wire_reading",
    "test_wire_shutdown", "test_cut_streams", "test_back_pressure",
    "test_making_room", "test_memory_back", "test_no_threads", "test_open_files",
    "test_shared_prefixes", "test_swapping", "test_unloading_twice",
})  # fmt: skip
"""The files whose tests run over both placements: those that make and use contexts."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.stem in BOTH_PLACEMENTS:
        # Marked with a reason: it is about what only this placement has.
        alone = metafunc.definition.get_closest_marker("dedicated")
        placements = daemons.PLACEMENTS[:1] if alone else daemons.PLACEMENTS
        metafunc.fixturenames.insert(0, "placement")
        metafunc.parametrize("placement", placements, indirect=True, scope="session")


# Of every test, so that it is set anew where the next one has another or none.
@pytest.fixture(scope="session", autouse=True)
def placement(request: pytest.FixtureRequest) -> Iterator[str]:
    """The placement of the daemons that the test starts."""
    daemons.placement = getattr(request, "param", daemons.PLACEMENTS[0])
    yield daemons.placement
    daemons.placement = daemons.PLACEMENTS[0]


@pytest.fixture(scope="session")
def shared_daemon(placement: str) -> Iterator[Daemon]:
    """One daemon for all tests that leave nothing behind but sessions of their own."""
    with daemons.run(models={"endless": endless()}, config={"models": TABLE}) as daemon:
        yield daemon


@pytest.fixture
def client(shared_daemon: Daemon) -> Iterator[RawClient]:
    """The superuser's, on the shared daemon; its session ends with the test."""
    with RawClient(shared_daemon) as client:
        client.login("admin", shared_daemon.admin)
        yield client
        with RawClient(shared_daemon, client.stok) as last:
            last.call("inf_destroy_session")


@pytest.fixture
def fresh_daemon() -> Iterator[Daemon]:
    """A daemon of the test's own."""
    with daemons.run() as daemon:
        yield daemon
