"""Requests that schemathesis makes up from the OpenAPI description: no answer breaks it, none is an internal error."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from search_world import colour_encoder
from served_world import labelled_index

from openmofi.plugins.server import ServeSettings, create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
HOST = {"Host": "127.0.0.1"}


def described(folder):
    index = labelled_index(folder, each=2, encoder=colour_encoder())
    app = create_app(index, ServeSettings(rate=0, no_token=True))
    return schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=HOST)


@pytest.mark.slow
def test_every_operation_keeps_to_the_description(tmp_path):
    schema = described(tmp_path)
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @settings(
            max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def ask(case):
            case.call_and_validate(headers=HOST, checks=CHECKS)

        ask()
