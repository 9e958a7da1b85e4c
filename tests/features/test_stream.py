"""The decode-ahead stream and lanes: order, bounds, errors, threads that do not outlive a caller who stops."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.features.stream import ahead, lane
from terminal import PATIENCE


@given(st.lists(st.integers(), max_size=50), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_batches_are_the_items_in_order_whatever_the_threads(items, size, threads, depth):
    batches = list(ahead(items, lambda item: item * 2, size, threads=threads, depth=depth))
    assert [pair for batch in batches for pair in batch] == [(item, item * 2) for item in items]
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(batches)


def test_only_the_next_batches_are_read_ahead():
    read = []

    def items():
        for number in range(100):
            read.append(number)
            yield number

    stream = ahead(items(), lambda item: item, 4, depth=2)
    next(stream)
    assert len(read) == 3 * 4
    stream.close()


def test_the_next_batch_is_prepared_while_the_caller_holds_one():
    prepared = threading.Event()
    stream = ahead(range(4), lambda item: prepared.set() if item == 3 else None, 2, threads=1)
    next(stream)
    assert prepared.wait(PATIENCE)


def test_an_error_of_the_work_is_raised_when_its_batch_is_due():
    def work(item):
        if item == 5:
            raise ValueError("the sixth")
        return item

    stream = ahead(range(9), work, 2)
    assert [next(stream), next(stream)] == [[(0, 0), (1, 1)], [(2, 2), (3, 3)]]
    with pytest.raises(ValueError, match="the sixth"):
        next(stream)


def test_no_thread_is_left_when_the_caller_stops_early():
    before = threading.active_count()
    stream = ahead(range(1000), lambda item: time.sleep(0.001), 8)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_no_room_for_another_thread_is_a_shortage_of_memory(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(MemoryError, match="can't start new thread to decode images"):
        next(ahead(range(3), lambda item: item, 2))


@given(st.lists(st.integers(), max_size=20), st.integers(0, 3))
def test_a_lane_does_work_in_order_and_ends_with_all_done(items, depth):
    done = []
    with lane(depth) as bring:
        futures = [bring(done.append, item) for item in items]
    assert done == items
    assert all(future.done() for future in futures)


def test_the_caller_goes_on_while_a_lane_works_and_waits_where_too_much_is_waiting():
    held, begun = threading.Event(), []

    def work(number):
        begun.append(number)
        assert held.wait(PATIENCE)

    def bring_all():
        with lane(depth=1) as bring:
            for number in range(4):
                bring(work, number)
                brought.append(number)

    brought: list[int] = []
    caller = threading.Thread(target=bring_all)
    caller.start()
    deadline = time.monotonic() + 10
    while brought != [0, 1] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (brought, begun) == ([0, 1], [0])
    held.set()
    caller.join(10)
    assert begun == brought == [0, 1, 2, 3]


def test_what_a_lanes_work_raises_is_raised_in_the_caller_and_later_work_is_not_begun():
    done = []

    def fail():
        raise ValueError("the second")

    def bring_all():
        with lane(depth=9) as bring:
            bring(done.append, 1)
            bring(fail).exception()
            for number in range(2, 9):
                bring(done.append, number)

    with pytest.raises(ValueError, match="the second"):
        bring_all()
    assert done == [1]


def test_an_error_of_the_last_work_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), lane() as bring:
        bring(lambda: 1 // 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_caller_that_stops_leaves_no_thread_and_nothing_begins(error):
    before, released, done = threading.active_count(), threading.Event(), []

    def stopping():
        # The outer lane waits for the inner one, as tables wait for features.
        with lane(depth=9) as write, lane(depth=9) as embed:
            embed(released.wait, 10)
            for number in range(5):
                write(embed(done.append, number).result)
            release.start()
            raise error

    release = threading.Timer(0.05, released.set)
    with pytest.raises(error):
        stopping()
    release.join()
    assert done == []
    assert threading.active_count() == before


def test_no_room_for_a_lanes_thread_is_a_shortage_of_memory(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(MemoryError, match="can't start new thread"), lane() as bring:
        bring(int)
