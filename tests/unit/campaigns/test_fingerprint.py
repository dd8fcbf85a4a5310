import numpy as np
import pytest

from monitor.campaigns.fingerprint import EARLIER, FINGERPRINT, VERSION, decode, encode
from monitor.campaigns.population import ROW, Population
from monitor.errors import StoreRefusedError


def filled(layout, version):
    """A fingerprint whose every field holds its position in the present layout."""
    said = np.zeros(1, layout)
    for i, name in enumerate(FINGERPRINT.names):
        said[name] = i + 1
    said["version"] = version
    return said


@pytest.mark.parametrize("version", EARLIER)
def test_messages_of_an_earlier_version_are_decoded(version):
    old, new = filled(EARLIER[version], version), filled(FINGERPRINT, VERSION)
    said, keys, which = decode([old.tobytes() + b"k_1", b"junk", *encode(new, ["k_2"])])
    assert (keys, which) == (["k_1", "k_2"], [0, 2])
    assert said[0].tobytes() == said[1].tobytes() == new.tobytes()


@pytest.mark.parametrize("version", EARLIER)
def test_rows_of_an_earlier_version_are_loaded(version):
    new = np.zeros(1, ROW)
    new["said"], new["seen"], new["number"] = filled(FINGERPRINT, VERSION), 7, 3
    rest = new.tobytes()[FINGERPRINT.itemsize :]
    population = Population(10)
    population.load({"k_1": filled(EARLIER[version], version).tobytes() + rest})
    assert population.rows.tobytes() == new.tobytes()


@pytest.mark.parametrize("data", [b"", b"\x09\x00", np.zeros(1, ROW).tobytes()[:-1]])
def test_rows_of_an_unknown_version_are_refused(data):
    with pytest.raises(StoreRefusedError, match="the same version"):
        Population(10).load({"k_1": data})
