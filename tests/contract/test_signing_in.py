"""`state.base.signing_in`: what signs a browser in once, and one key for all sessions."""

from __future__ import annotations

import threading

from cis490_receiver.backends import Backends
from tests.contract.places import NOW_NS, SECOND_NS, Place, sha256

QUARTER_NS = 15 * 60 * SECOND_NS


def test_everybody_signs_with_the_same_key(place: Place, backends: Backends) -> None:
    key = backends.session_key.load()
    assert len(key) >= 32 and place.open().session_key.load() == key


def test_a_code_is_good_for_a_while_and_once(place: Place, backends: Backends) -> None:
    text = backends.codes.make("a", sha256(b"token"), NOW_NS)
    for codes in (backends.codes, place.open().codes):
        found = codes.find(text, NOW_NS + QUARTER_NS - 1)
        assert found is not None and (found.token, found.token_sha256) == ("a", sha256(b"token"))
        assert found.expires_ns == NOW_NS + QUARTER_NS
        assert codes.find(text, NOW_NS + QUARTER_NS) is codes.take(text, NOW_NS + QUARTER_NS) is None
        assert codes.find("another", NOW_NS) is codes.take("another", NOW_NS) is None
    assert place.open().codes.take(text, NOW_NS) == found
    assert backends.codes.find(text, NOW_NS) is backends.codes.take(text, NOW_NS) is None


def test_of_all_who_present_a_code_one_gets_in(place: Place, backends: Backends) -> None:
    text = backends.codes.make("a", sha256(b"token"), NOW_NS)
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.append(place.open().codes.take(text, NOW_NS))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 8 and len([code for code in taken if code is not None]) == 1


def test_the_oldest_of_many_give_way(backends: Backends) -> None:
    texts = [backends.codes.make("a", sha256(b"token"), NOW_NS + number) for number in range(103)]
    good = [backends.codes.find(text, NOW_NS + 103) is not None for text in texts]
    assert good == [False] * 3 + [True] * 100
