import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from monitor.records.harvest.task_model import (
    CLIP,
    load_tasks,
    read_tasks,
    shipped_tasks,
    write_tasks,
)

TASKS = [
    "Write a function that removes duplicates from a list and keeps the order.",
    "Explain why the sky is blue, and give two experiments that show it.",
    "Create a short dialogue between a captain and a stowaway.",
]
DATA = [
    "2024-03-02 11:02:11 ERROR db: connection to 10.0.0.7 timed out after 30000 ms",
    "Walking boots, size 41, leather, waterproof, colour brown, price 119.90",
    "The town lies on the northern bank of the river. It was founded in 1241 by monks.",
]


@pytest.fixture(scope="module")
def extract():
    return Extractor(b"secret")


def odds(extract, texts):
    return shipped_tasks().odds(extract(Texts.of(texts)))


def test_shipped_model_tells_tasks_from_data(extract):
    assert odds(extract, TASKS).mean() > 1.0 > -1.0 > odds(extract, DATA).mean()


def test_odds_are_those_of_the_weights(extract):
    model, features = shipped_tasks(), extract(Texts.of(TASKS + DATA))
    exact = model.inputs(features) @ model.weights + model.offset
    assert np.allclose(model.odds(features), np.clip(exact, -CLIP, CLIP), atol=1e-4)


def test_odds_do_not_depend_on_the_batch(extract):
    together = odds(extract, TASKS + DATA)
    alone = [odds(extract, [text])[0] for text in TASKS + DATA]
    assert together.tolist() == alone


def test_model_survives_write_and_read(tmp_path):
    file = tmp_path / "tasks.json"
    file.write_bytes(write_tasks(shipped_tasks(), source="a test"))
    read = load_tasks(file)
    assert all((a == b).all() for a, b in zip(read, shipped_tasks(), strict=True))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"style": [], "names": []}'])
def test_other_file_is_refused(text):
    with pytest.raises(ConfigError, match="unset XM_TASKS"):
        read_tasks(text)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"XM_TASKS\) cannot be read"):
        load_tasks(tmp_path / "none.json")
