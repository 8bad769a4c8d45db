from gevent import monkey; monkey.patch_all()  # noqa: E702  # before anything that opens a socket or a lock
"""What all tests share: the process is patched, as the node's is; one MariaDB of our own for whoever asks for it."""

from collections.abc import Iterator

import pytest

from tests.store.mariadb import MariaDb


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A running server, one for each test process; started when first asked for."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    server.start()
    yield server
    server.stop()
