"""Queries that come together go through the encoder together, and one that fails fails alone."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from served_world import served

from openmofi.errors import OpenMofiError
from openmofi.plugins.server.context import EncoderQueue
from openmofi.search import Query


class Recorded:
    """An index that says with which queries, and in which thread, its encoder was asked."""

    def __init__(self, index):
        self.index, self.batches, self.threads, self.gate = index, [], set(), threading.Event()
        self.gate.set()

    def vectors_of(self, queries):
        self.gate.wait(10)
        self.threads.add(threading.get_ident())
        self.batches.append([query.text for query in queries])
        return self.index.vectors_of(queries)


@pytest.fixture
def recorded(index):
    return Recorded(index)


def asked(recorded, queries, batch=32, wait=0.05):
    async def ask():
        queue = EncoderQueue(recorded, batch, wait, lambda size: None)
        try:
            return await asyncio.gather(*(queue.vector(each) for each in queries), return_exceptions=True)
        finally:
            queue.close()

    return asyncio.run(ask())


def test_what_comes_together_goes_together_and_gives_the_same(recorded):
    queries = [Query(text=text) for text in ("red", "green", "a blue one", "grey", "red")]
    vectors = asked(recorded, queries)
    assert recorded.batches == [["red", "green", "a blue one", "grey", "red"]]
    assert recorded.threads != {threading.get_ident()}
    for query, vector in zip(queries, vectors, strict=True):
        np.testing.assert_allclose(vector, recorded.index.vectors_of([query])[0], atol=1e-6)


def test_a_batch_has_a_most(recorded):
    asked(recorded, [Query(text=f"red {number}") for number in range(7)], batch=3)
    assert [len(each) for each in recorded.batches] == [3, 3, 1]


def test_who_asks_for_what_is_not_there_fails_alone(recorded):
    good, bad, other = asked(recorded, [Query(text="red"), Query(entity="c:nothing"), Query(text="blue")])
    assert isinstance(bad, OpenMofiError)
    assert good.shape == other.shape == (6,)


def test_a_busy_encoder_gathers_the_next_batch(recorded):
    async def ask():
        queue = EncoderQueue(recorded, 32, 0.0, lambda size: None)
        recorded.gate.clear()
        first = asyncio.create_task(queue.vector(Query(text="red")))
        await asyncio.sleep(0.1)
        later = [asyncio.create_task(queue.vector(Query(text="blue"))) for _ in range(5)]
        gone = asyncio.create_task(queue.vector(Query(text="nobody waits for this")))
        await asyncio.sleep(0.1)
        gone.cancel()
        recorded.gate.set()
        await asyncio.gather(first, *later)
        queue.close()

    asyncio.run(ask())
    assert recorded.batches == [["red"], ["blue"] * 5]


def test_an_encoder_that_breaks_fails_the_query_not_the_queue(recorded, monkeypatch):
    monkeypatch.setattr(recorded.index, "vectors_of", lambda queries: 1 / 0)
    assert all(isinstance(each, ZeroDivisionError) for each in asked(recorded, [Query(text="a"), Query(text="b")]))
    monkeypatch.undo()
    assert asked(recorded, [Query(text="red")])[0].shape == (6,)


def test_the_event_loop_goes_on_while_the_encoder_works(index, monkeypatch):
    gate, working, true = threading.Event(), threading.Event(), index.vectors_of

    def slow(queries):
        working.set()
        gate.wait(10)
        return true(queries)

    monkeypatch.setattr(index, "vectors_of", slow)
    with served(index) as client, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.post, "/api/search", json={"text": "red"})
        assert working.wait(10)
        assert client.get("/healthz").status_code == 200
        assert not waiting.done()
        gate.set()
        assert waiting.result(10).status_code == 200
