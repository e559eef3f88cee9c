import threading

import pytest

from fpga_facedet.host.queues import Aborted, BoundedQueue


def test_every_item_passes_in_order_through_a_small_queue():
    queue: BoundedQueue[int] = BoundedQueue(2)

    def write():
        for number in range(1000):
            queue.put(number)
        queue.close()

    threading.Thread(target=write, daemon=True).start()
    assert list(queue) == list(range(1000))


def test_the_latest_stay_when_nobody_reads():
    queue: BoundedQueue[int] = BoundedQueue(2, latest=True)
    dropped = [queue.put(number) for number in range(10)]
    queue.close()
    assert list(queue) == [8, 9]
    assert dropped == [False] * 2 + [True] * 8


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_an_abort_frees_who_waits(side):
    queue: BoundedQueue[int] = BoundedQueue(1)
    freed = threading.Event()

    def wait():
        with pytest.raises(Aborted):
            if side == "reader":
                list(queue)
            while True:
                queue.put(1)
        freed.set()

    threading.Thread(target=wait, daemon=True).start()
    queue.abort()
    assert freed.wait(5)
    with pytest.raises(Aborted):
        queue.put(2)


def test_room_once_seen_stays_for_the_only_writer():
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.put(1)
    order = []

    def read():
        for number in queue:
            order.append(number)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    queue.wait_for_room()
    queue.put(2)
    queue.close()
    reader.join(5)
    assert order == [1, 2]
    queue.abort()
    with pytest.raises(Aborted):
        queue.wait_for_room()
