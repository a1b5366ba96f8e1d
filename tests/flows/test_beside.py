import threading
import time

from flows.beside import beside


def test_it_works_while_the_body_runs_and_is_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(over: threading.Event) -> None:
        begun.set()
        over.wait(20.0)
        time.sleep(0.05)
        ended.set()

    with beside(work):
        assert begun.wait(20.0)
        assert not ended.is_set()
    assert ended.is_set()


def test_what_does_not_end_is_not_waited_for_longer_than_said() -> None:
    later, ended = threading.Event(), threading.Event()

    def work(_: threading.Event) -> None:
        later.wait(20.0)
        ended.set()

    with beside(work, 0.05):
        pass
    assert not ended.is_set()
    later.set()
