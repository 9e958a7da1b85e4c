"""Limits per client, logs and metrics."""

import json
import logging
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from served_world import served

from openmofi.plugins.server.guard import Limits
from openmofi.plugins.server.messages import JsonLines


@settings(max_examples=100, derandomize=True)
@given(st.floats(0.5, 50), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 8)), max_size=60))
def test_no_client_gets_more_than_its_rate_and_a_burst(rate, asked):
    now, given_out = 0.0, 0
    limits = Limits(rate, lambda: now)
    for pause, cost in asked:
        now += pause
        given_out += cost if limits.take("a", cost) == 0 else 0
        assert given_out <= 10 * rate + rate * now + 8
    assert limits.take("another", 1) == 0


def test_who_waits_as_long_as_was_said_is_let_in():
    now = 0.0
    limits = Limits(2.0, lambda: now)
    assert [limits.take("a", 4) for _ in range(6)] == [0, 0, 0, 0, 0, 2]
    now = 2.0
    assert limits.take("a", 4) == 0
    assert Limits(0).take("a", 10**9) == 0


def test_too_many_requests_are_refused_with_the_time_to_wait(index):
    with served(index, rate=0.5) as client:
        answers = [client.get("/api/images/1") for _ in range(7)]
        refused = answers[-1]
        assert answers[0].status_code == 200
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert "Try again in" in refused.json()["hint"]


def test_guessing_tokens_is_slow(index, monkeypatch):
    # However long a slow machine takes to send them, no token comes back between the guesses.
    monkeypatch.setattr("openmofi.plugins.server.guard.Limits", partial(Limits, clock=lambda: 0.0))
    with served(index, host="0.0.0.0", token="x" * 32) as client:
        codes = [client.post("/api/session", json={"token": str(number)}).status_code for number in range(60)]
    assert codes[0] == 401
    assert codes[-1] == 429


def test_a_line_of_json_for_each_request(client, caplog):
    with caplog.at_level(logging.INFO, "openmofi.serve"):
        answer = client.get("/api/images/7?secret=1")
        client.get("/no%0Awhere")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if hasattr(record, "fields")]
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    assert (lines[0]["route"], lines[0]["path"], lines[0]["status"]) == ("/api/images/{image}", "/api/images/7", 200)
    assert lines[1]["route"] == "none"
    assert "secret" not in json.dumps(lines)


def test_an_error_inside_is_logged_with_its_traceback(index, client, caplog, monkeypatch):
    monkeypatch.setattr(index, "entities", lambda **_: 1 / 0)
    with caplog.at_level(logging.INFO, "openmofi.serve"):
        request_id = client.get("/api/entities").json()["request_id"]
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    failed = next(line for line in lines if line["level"] == "error")
    assert failed["request_id"] == request_id
    assert "ZeroDivisionError" in failed["traceback"]


def test_metrics_count_routes_not_paths(client):
    for path in ("/api/images/1", "/api/images/2", "/api/images/999", "/a", "/b"):
        client.get(path)
    client.post("/api/search", json={"text": "red"})
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    counts = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["openmofi_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counts["/api/images/{image}", "200"] == 2
    assert counts["/api/images/{image}", "404"] == 1
    assert counts["none", "404"] == 2
    batches = {
        sample.name: sample.value
        for sample in families["openmofi_encoder_batch"].samples
        if sample.name.endswith(("_count", "_sum"))
    }
    assert batches == {"openmofi_encoder_batch_count": 1, "openmofi_encoder_batch_sum": 1}
    assert any(sample.name.endswith("_bucket") for sample in families["openmofi_request_seconds"].samples)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "X-ODD"])
def test_other_methods_are_refused(client, method):
    assert client.request(method, "/api/info").status_code == 405
