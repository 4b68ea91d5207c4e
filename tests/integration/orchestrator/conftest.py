"""What the tests of this folder need: etcd, and for partitions the right to make network namespaces."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def etcd() -> None:
    from cluster import ETCD  # noqa: PLC0415  # found by the line above

    assert ETCD, "etcd is not installed: apt-get install etcd-server"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
