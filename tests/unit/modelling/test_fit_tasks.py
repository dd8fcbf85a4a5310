import numpy as np

from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from pipelines.modelling.fit_tasks import TRAIT_WEIGHTS, fit_tasks

ASKED = ("tides", "yeast", "bridges", "taxes", "comets", "chess", "grammar", "soil")
DONE = ("Explain", "Describe", "Summarise what is known of", "Write a story about")
TASKS = [f"{verb} {topic}, with an example." for verb in DONE for topic in ASKED]
DATA = [
    f"Order {i}: {topic} guide, paid, shipped {i % 28 + 1} May" for i, topic in enumerate(ASKED * 4)
]


def test_fitted_model_tells_tasks_from_data():
    framed = [f"Extract the fields of this order as JSON.\n{each}" for each in DATA]
    model = fit_tasks({"list": TASKS[::2]}, {"shop": framed[::2]})
    odds = model.odds(Extractor(b"secret")(Texts.of(TASKS[1::2] + DATA[1::2])))
    assert odds[: len(odds) // 2].min() > odds[len(odds) // 2 :].max()
    assert model.traits.tolist() == list(TRAIT_WEIGHTS)


def test_sources_with_a_common_first_part_count_as_one():
    data = {"shop-1": DATA[:16], "shop-2": DATA[16:]}
    parts = fit_tasks({"list": TASKS}, data), fit_tasks({"list": TASKS}, {"shop": DATA})
    assert np.allclose(parts[0].weights, parts[1].weights, atol=0.2)
