"""What an engine answers that is no answer of etcd is an outcome that is not known, and nothing else."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from p2p_orchestrator.store import LEADER, TERM, Entry, StoreError, Swap, View
from p2p_orchestrator.store_etcd import EtcdStore
from tests.unit.orchestrator import lies

KEY = {"key": "L3AycC90ZXN0L2VsZWN0aW9uL3Rlcm0=", "mod_revision": "5", "value": "Nw=="}
HEADER = {"revision": "9"}


class Engine:
    """Answers whatever it is told to."""

    def __init__(self) -> None:
        self.body = b""

    async def post(self, _: web.Request) -> web.Response:
        return web.Response(body=self.body)


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[tuple[Engine, EtcdStore]]:
    engine, app = Engine(), web.Application()
    app.add_routes([web.post("/v3/kv/{method}", engine.post)])
    async with TestServer(app) as server:
        store = EtcdStore(str(server.make_url("")), "test")
        yield engine, store
        await store.close()


async def test_keys_of_others_beside_the_elections_are_passed_over(engine: tuple[Engine, EtcdStore]) -> None:
    liar, store = engine
    liar.body = json.dumps({"header": HEADER, "kvs": [{**KEY, "key": "/w=="}, KEY]}).encode()
    assert await store.read() == View(term=Entry(b"7", 5))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"404 page not found",
        lies.DEEP,
        b'{"header": {}, "kvs": ' + lies.DEEP,
        b'{"header": [], "kvs": []}',
        b'{"error": "' + b"x" * 5000 + b'"}',
        b'{"header": {}, "kvs": {}}',
        b'{"header": {}, "kvs": [1]}',
        json.dumps({"header": HEADER, "kvs": [KEY] * 101}).encode(),
        *(
            json.dumps({"header": HEADER, "kvs": [{**KEY, **wrong}]}).encode()
            for wrong in (
                {"mod_revision": None},
                {"mod_revision": 5},
                {"mod_revision": "-5"},
                {"mod_revision": "9" * 401},
                {"value": "N"},
                {"value": "é"},
                {"value": [7]},
                {"key": 7},
            )
        ),
    ],
)
async def test_what_is_no_answer_is_an_error_of_the_store(
    engine: tuple[Engine, EtcdStore], body: bytes
) -> None:
    liar, store = engine
    liar.body = body
    for asked in (store.read(), store.get(TERM)):
        with pytest.raises(StoreError) as error:
            await asked
        assert len(str(error.value)) < 500


@pytest.mark.parametrize("header", [{}, {"revision": 9}, {"revision": "x"}, {"revision": "9" * 401}])
async def test_a_write_without_a_revision_is_not_taken_for_done(
    engine: tuple[Engine, EtcdStore], header: object
) -> None:
    liar, store = engine
    liar.body = json.dumps({"header": header, "succeeded": True}).encode()
    with pytest.raises(StoreError, match="does not fit"):
        await store.swap(Swap({LEADER: Entry()}, put={LEADER: b"a"}))
    liar.body = json.dumps({"header": HEADER, "succeeded": True}).encode()
    assert await store.swap(Swap({LEADER: Entry()}, put={LEADER: b"a"})) == 9
