"""The short way of an episode's PUT is the same as Flask's."""

from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.test import Client

from cis490_receiver import create_app, logfmt
from cis490_receiver.config import Settings
from cis490_receiver.views.intake import Intake
from tests.support.archives import make_episode
from tests.support.receiver import Receiver, put_headers

EPISODE = make_episode()
TOKEN = {"Authorization": "Bearer good"}
SHA = {"X-Content-SHA256": "0" * 64}
REQUESTS = {
    "no token": ("/v1/episodes/h/e.tar.zst", {}),
    "bad suffix": ("/v1/episodes/h/e.zip", TOKEN),
    "no name": ("/v1/episodes/", TOKEN),
    "slashes": ("/v1/episodes//h//e.tar.zst", TOKEN),
    "percent": ("/v1/episodes/h%2Fx/e%ff.tar.zst", TOKEN),
    "no digest": ("/v1/episodes/h/e.tar.zst", TOKEN),
    "no host": ("/v1/episodes/h/e.tar.zst", TOKEN | SHA | {"Host": ""}),
    "other digest": ("/v1/episodes/h/e.tar.zst", TOKEN | SHA),
    "coding": ("/v1/episodes/h/e.tar.zst", TOKEN | SHA | {"Transfer-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, headers = REQUESTS[name]
    # This process is pytest's, which wants the log for itself.
    monkeypatch.setattr(logfmt, "configure", lambda *_args, **_kwargs: None)
    app = create_app(Settings(data_dir=tmp_path, bearer_token="good", disk_reserve_bytes=0))
    intake = app.wsgi_app
    assert isinstance(intake, Intake)
    short, long = (
        Client(way).put(path, headers=headers, data=b"some bytes")
        for way in (intake, intake._flask_application)
    )
    assert (short.status_code, short.get_json()) == (long.status_code, long.get_json())
    assert short.status_code // 100 == 4
    assert dict(short.headers) == dict(long.headers)


def test_both_ways_look_at_small_bodies_of_taken_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfmt, "configure", lambda *_args, **_kwargs: None)
    app = create_app(Settings(data_dir=tmp_path, disk_reserve_bytes=0))
    intake = app.wsgi_app
    assert isinstance(intake, Intake)
    headers = {"X-Content-SHA256": EPISODE.sha256}
    for way, first in ((intake, 201), (intake._flask_application, 200)):
        answers = [
            Client(way).put("/v1/episodes/h/e.tar.zst", headers=headers, data=data)
            for data in (EPISODE.data, EPISODE.data[:-1] + b"\0", EPISODE.data)
        ]
        assert [answer.status_code for answer in answers] == [first, 400, 200]
        assert answers[1].get_json()["code"] == "sha-mismatch"


def test_no_header_changes_where_a_request_goes(start_receiver) -> None:  # type: ignore[no-untyped-def]
    receiver: Receiver = start_receiver()
    headers = put_headers(EPISODE) | {"PATH_INFO": "/v1/episodes/other/x.tar.zst", "SCRIPT_NAME": "/v1"}
    path = "/v1/episodes/host/one.tar.zst"
    assert receiver.request("PUT", path, EPISODE.data, headers).status == 201
    assert set(receiver.stored()) == {("host", "one.tar.zst")}
