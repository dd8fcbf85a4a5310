import pytest

from pipelines.worker.web import named_key


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"X-API-Key": "sk-1"}, "sk-1"),
        ({"Authorization": "Bearer sk-1"}, "sk-1"),
        ({"Authorization": "bearer  sk-1 "}, "sk-1"),
        ({"X-API-Key": "sk-1", "Authorization": "Bearer sk-2"}, "sk-1"),
        ({"Authorization": "Basic c2s="}, None),
        ({"Authorization": "Bearer"}, None),
        ({}, None),
    ],
)
def test_the_key_is_found_where_gateways_put_it(headers, key):
    assert named_key(headers) == key
