import asyncio

import pytest

from monitor.errors import RegistryUnavailableError
from monitor.requests.decoder import Decoder
from pipelines.worker import rekey
from pipelines.worker.rekey import Rekey


def test_copies_wait_for_the_schema_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder()
    decode, failures = decoder.decode, ["away", "away"]

    def decode_or_fail(*arguments):
        if failures:
            raise RegistryUnavailableError(failures.pop())
        return decode(*arguments)

    monkeypatch.setattr(decoder, "decode", decode_or_fail)
    monkeypatch.setattr(rekey, "_RETRY_SECONDS", 0.0)
    value = b'{"ts": 1772040000, "api_key": "k"}'
    copies = asyncio.run(Rekey(None, decoder, "keyed")._decoded([value]))
    assert copies == [(0, b"k", value)]
