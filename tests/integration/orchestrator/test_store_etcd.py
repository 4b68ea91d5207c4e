"""The store over one real etcd member: what a swap compares, fencing, a restored snapshot."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from p2p_orchestrator.leadership import EPOCH_SPAN, Kind, Leadership, Swapped, Token
from p2p_orchestrator.store import EPOCH, LEADER, ROSTER, TERM, Entry, StoreError, Swap, View
from p2p_orchestrator.store_etcd import EtcdStore
from tests.integration.orchestrator.cluster import ETCD, Process, wait

# Of this process, beside others that run the same tests.
NETWORK = f"127.76.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}"
ADDRESS = f"{NETWORK}.1"
ENDPOINT = f"http://{ADDRESS}:2379"


def member(path: Path, data: str) -> Process:
    peer = f"http://{ADDRESS}:2380"
    words = [str(ETCD), "--name", "one", "--data-dir", str(path / data), "--log-level", "warn"]
    words += [
        "--listen-client-urls",
        ENDPOINT,
        "--advertise-client-urls",
        ENDPOINT,
        "--listen-peer-urls",
        peer,
    ]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}"]
    return Process(words, path / "etcd.log")


def etcdctl(*words: str) -> str:
    env = {**os.environ, "ETCDCTL_API": "3"}
    command = ["etcdctl", "--endpoints", ENDPOINT, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    return done.stdout if done.returncode == 0 else ""


def start(process: Process) -> None:
    process.start()
    wait("etcd answers", lambda: etcdctl("get", "x", "--write-out=json"), 60)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[EtcdStore]:
    process = member(tmp_path, "data")
    store = EtcdStore(ENDPOINT, "test")
    try:
        start(process)
        yield store
    finally:
        await store.close()
        process.kill()


async def take(store: EtcdStore, lead: Leadership, now: float) -> Token:
    """Let a process acquire; return its token."""
    for _ in range(2):
        request = lead.poll(now)
        assert request is not None
        if request.swap is None:
            lead.answer(request, now, now, await store.read())
        else:
            assert request.kind is Kind.ACQUIRE
            revision = await store.swap(request.swap)
            assert revision is not None
            lead.answer(request, now, now, Swapped(revision))
    assert lead.is_leader(now)
    assert lead.token is not None
    return lead.token


async def test_a_swap_writes_only_what_is_as_expected(store: EtcdStore) -> None:
    assert await store.read() == View()
    both = Swap({LEADER: Entry(), TERM: Entry()}, put={LEADER: b"a", TERM: b"1"})
    revision = await store.swap(both)
    assert revision is not None
    assert await store.read() == View(Entry(b"a", revision), Entry(b"1", revision))
    assert await store.swap(both) is None
    same_revision = Swap({LEADER: Entry(b"other", revision)}, put={LEADER: b"x"})
    assert await store.swap(same_revision) is None
    removed = await store.swap(Swap({LEADER: Entry(b"a", revision)}, delete=(LEADER,)))
    assert removed == revision + 1
    assert await store.read() == View(Entry(), Entry(b"1", revision))


async def test_the_store_refuses_a_leader_write_with_an_older_token(store: EtcdStore) -> None:
    first = await take(store, Leadership("voter-a", "ia"), 0.0)
    assert await store.swap(Swap(first.expectations(), put={ROSTER: b"first"})) is not None
    leader = (await store.read()).leader
    await store.swap(Swap({LEADER: leader}, delete=(LEADER,)))
    second = await take(store, Leadership("voter-b", "ib"), 0.0)
    assert second.number > first.number
    assert await store.swap(Swap(first.expectations(), put={ROSTER: b"late"})) is None
    assert (await store.get(ROSTER)).value == b"first"
    assert await store.swap(Swap(second.expectations(), put={ROSTER: b"second"})) is not None


async def test_no_term_comes_twice_after_a_snapshot_was_restored(store: EtcdStore, tmp_path: Path) -> None:
    tokens = [await take(store, Leadership("voter-a", "ia"), 0.0)]
    etcdctl("snapshot", "save", str(tmp_path / "snapshot"))
    await store.swap(Swap({LEADER: (await store.read()).leader}, delete=(LEADER,)))
    late = Leadership("voter-b", "ib")
    tokens.append(await take(store, late, 0.0))
    lost_term = late.term
    etcdctl("del", "--prefix", "/p2p/")
    env = {**os.environ, "ETCDCTL_API": "3"}
    peer = f"one=http://{ADDRESS}:2380"
    words = ["etcdctl", "snapshot", "restore", str(tmp_path / "snapshot"), "--name", "one", "--data-dir"]
    words += [str(tmp_path / "restored"), "--initial-cluster", peer]
    words += ["--initial-advertise-peer-urls", f"http://{ADDRESS}:2380"]
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True, env=env)
    await store.close()
    process = member(tmp_path, "restored")
    process.words = [word.replace(ADDRESS, f"{NETWORK}.2") for word in process.words]
    process.start()
    restored = EtcdStore(ENDPOINT.replace(ADDRESS, f"{NETWORK}.2"), "test")
    try:
        await raise_epoch(restored)
        lead = Leadership("voter-c", "ic")
        request = lead.poll(0.0)
        assert request is not None
        lead.answer(request, 0.0, 0.0, await restored.read())
        take_over = lead.poll(12.0)
        while take_over is not None and take_over.kind is Kind.READ:
            lead.answer(take_over, 12.0, 12.0, await restored.read())
            take_over = lead.poll(12.0)
        assert take_over is not None
        assert take_over.swap is not None
        revision = await restored.swap(take_over.swap)
        assert revision is not None
        lead.answer(take_over, 12.0, 12.0, Swapped(revision))
        assert lead.term == 7 * EPOCH_SPAN + 1
        assert lead.term > lost_term
        assert lead.token is not None
        assert lead.token.number > max(token.number for token in tokens)
    finally:
        await restored.close()
        process.kill()


async def raise_epoch(store: EtcdStore) -> None:
    """Do what a recovery does."""
    for _ in range(100):
        try:
            await store.swap(Swap({}, put={EPOCH: b"7"}))
        except StoreError:
            await asyncio.sleep(0.1)
            continue
        return
    raise AssertionError("the restored member does not answer")


async def test_an_engine_that_is_gone_is_told_apart_from_one_that_is_slow() -> None:
    store = EtcdStore(f"http://{NETWORK}.9:2379", "test")
    with pytest.raises(StoreError, match="cannot be reached") as error:
        await store.read()
    assert not error.value.reached
    await store.close()
