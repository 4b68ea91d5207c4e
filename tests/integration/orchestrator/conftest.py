"""What the tests of this folder need: etcd."""

import pytest

from tests.integration.orchestrator.cluster import ETCD


@pytest.fixture(autouse=True, scope="session")
def etcd() -> None:
    assert ETCD, "etcd is not installed: apt-get install etcd-server"
