"""The single machine's store: one process writes, terms survive, nothing is half written."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.store import LEADER, TERM, Entry, StoreError, Swap, View
from p2p_orchestrator.store_file import FileStore

TAKE = Swap({LEADER: Entry(), TERM: Entry()}, put={LEADER: b"{}", TERM: b"1"})


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileStore]:
    store = FileStore(tmp_path)
    yield store
    await store.close()


async def test_a_swap_writes_only_what_is_as_expected(store: FileStore) -> None:
    assert await store.read() == View()
    revision = await store.swap(TAKE)
    assert revision is not None
    assert await store.read() == View(Entry(b"{}", revision), Entry(b"1", revision))
    assert await store.swap(TAKE) is None
    assert await store.swap(Swap({LEADER: Entry(b"{}", revision)}, delete=(LEADER,))) == revision + 1
    assert await store.read() == View(Entry(), Entry(b"1", revision))


async def test_a_second_process_sees_the_leader_and_cannot_write(store: FileStore, tmp_path: Path) -> None:
    await store.read()
    await store.swap(TAKE)
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from p2p_orchestrator.store import *; from p2p_orchestrator.store_file import FileStore\n"
        "async def main():\n"
        "    store = FileStore(Path(sys.argv[1])); view = await store.read()\n"
        "    print(view.term.value, await store.swap(Swap({LEADER: view.leader}, put={LEADER: b'x'})))\n"
        "asyncio.run(main())"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "b'1' None\n"


async def test_the_next_process_finds_the_term_and_no_leader(tmp_path: Path) -> None:
    first = FileStore(tmp_path)
    await first.read()
    await first.swap(TAKE)
    await first.close()
    second = FileStore(tmp_path)
    view = await second.read()
    await second.close()
    assert (view.leader, view.term.value) == (Entry(), b"1")


async def test_a_term_that_cannot_be_read_is_never_guessed(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "term.json").write_text("{")
    with pytest.raises(StoreError, match=r"term\.json cannot be read"):
        await store.read()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="set P2P_DATA_DIR") as error:
        FileStore(tmp_path / "file" / "dir")
    assert error.value.code == Exit.DATA_DIR
