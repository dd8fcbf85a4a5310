from __future__ import annotations

import json
from random import Random

import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.prompts.content_model import (
    CONCEPT_WEIGHT,
    CONTENT_WEIGHT,
    EDGE_WEIGHT,
    LISTS_WEIGHT,
    Content,
    evidence,
    load_content,
    read_content,
    shipped_content,
    write_content,
)
from monitor.prompts.extractor import Extractor
from monitor.prompts.kernel import MEANING_LENGTH
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import CLIP, CONTENT, LISTS, MAX_SCORE, SCALE, SHARES, STEP
from monitor.prompts.vocabulary import FAMILIES
from pipelines.modelling.fit_content import PromptFeatures, fit_content
from pipelines.simulation.users import SERVICES, TEMPLATES, grammar

BASELINE = (*SERVICES, *TEMPLATES, "cooking", "science", "life", "leisure", "study", "deutsch")
KINDS = dict(zip(LISTS, ("coding", "trace", "sweep", "trace", "grade", "coding"), strict=True))


def sample_prompts(rules, count, seed=1):
    random = Random(seed)
    return [grammar().generate(rules[i % len(rules)], random) for i in range(count)]


def features_of(prompts):
    return PromptFeatures.concatenate([Extractor(b"3", Content.none())(Texts.of(prompts))])


@pytest.fixture(scope="module")
def lists():
    return {kind: features_of(sample_prompts([rule], 300)) for kind, rule in KINDS.items()}


@pytest.fixture(scope="module")
def learned(lists):
    return fit_content(features_of(sample_prompts(BASELINE, 3_000)), lists, Content.none())


def test_kernel_agrees_with_the_model():
    model = shipped_content()
    features = Extractor(b"1", model)(Texts.of(sample_prompts(BASELINE, 500)))
    meaning, opening, closing, style, concepts, family = PromptFeatures.concatenate([features])
    counts = model.standardised(style)
    broad = np.hstack([meaning * (CONTENT_WEIGHT / MEANING_LENGTH), counts])
    place = (broad - model.content_centres[family]) @ model.whitening
    place *= SCALE * model.scales[family]
    off = np.abs(features.content - np.clip(np.rint(place), -127, 127))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01
    edges = [
        opening * (EDGE_WEIGHT / MEANING_LENGTH),
        closing * (EDGE_WEIGHT / MEANING_LENGTH),
    ]
    meaning *= LISTS_WEIGHT / MEANING_LENGTH
    inputs = np.hstack([meaning, *edges, counts, CONCEPT_WEIGHT * concepts])
    odds = (inputs - model.centres[family]) @ model.directions.T
    steps = np.rint(np.clip(odds + model.offsets, -CLIP, CLIP) * STEP) / STEP
    for k in range(len(LISTS)):
        scores = (evidence(steps[:, k]).T - model.means[k]) / model.deviations[k]
        scores = np.minimum(scores, MAX_SCORE)
        found = features.lists[:, k * len(SHARES) : (k + 1) * len(SHARES)]
        assert np.isclose(found, scores, atol=1e-2).mean() > 0.99


def test_content_of_the_training_prompts_is_standardised(learned):
    features = Extractor(b"1", learned)(Texts.of(sample_prompts(BASELINE, 3_000)))
    place = features.content / SCALE
    assert np.abs(place.mean(axis=0)).max() < 0.1
    assert np.median(np.abs(np.cov(place.T) - np.eye(CONTENT))) < 0.02
    assert np.abs(features.lists.mean(axis=0)).max() < 0.1


@pytest.mark.parametrize("kind", LISTS)
def test_list_prompts_score_above_ordinary_ones(learned, kind):
    k = LISTS.index(kind) * len(SHARES)
    extractor = Extractor(b"1", learned)
    ordinary, listed = (
        extractor(Texts.of(sample_prompts(rules, 200, seed=2))).lists[:, k]
        for rules in (BASELINE, [KINDS[kind]])
    )
    assert np.median(listed) > np.quantile(ordinary, 0.95)


def test_same_prompts_give_the_same_model(learned, lists):
    again = fit_content(features_of(sample_prompts(BASELINE, 3_000)), lists, Content.none())
    assert write_content(again) == write_content(learned)


def test_refined_model_keeps_the_classifiers(learned):
    model = fit_content(features_of(sample_prompts(("cooking", "coding"), 3_000)), {}, learned)
    for name in ("centre", "spread", "directions", "offsets", "means", "deviations"):
        assert (getattr(model, name) == getattr(learned, name)).all()


def test_refined_model_moves_halfway_to_as_many_prompts(learned):
    own = features_of(sample_prompts(("cooking",), 3_000))
    english = FAMILIES.index("english")
    own = own._replace(family=np.full(len(own.family), english, np.uint8))
    known = learned.prompts[english]
    model = fit_content(own, {}, learned)
    share = len(own.family) / (known + len(own.family))
    mean = own.concepts.mean(axis=0) * CONCEPT_WEIGHT
    expected = (1 - share) * learned.centres[english, -len(mean) :] + share * mean
    assert np.allclose(model.centres[english, -len(mean) :], expected)


def test_model_of_attackers_still_finds_the_list(learned):
    extractor = Extractor(b"1", learned)
    listed = sample_prompts(["coding"], 1_000, seed=3)
    before = extractor(Texts.of(listed)).lists[:, 0].mean()
    model = fit_content(features_of([*sample_prompts(BASELINE, 1_000), *listed]), {}, learned)
    assert Extractor(b"1", model)(Texts.of(listed)).lists[:, 0].mean() > before / 2


def test_languages_have_a_centre_each(learned):
    words = ("die", "der", "und", "nicht", "ein", "ist")
    random = Random(1)
    german = [" ".join(random.choices(words, k=12)) for _ in range(1_000)]
    both = features_of([*sample_prompts(BASELINE, 1_000), *german])
    before, after = (
        Extractor(b"1", model)(Texts.of(german)).content.mean(axis=0) / SCALE
        for model in (learned, fit_content(both, {}, learned))
    )
    assert after @ after < before @ before / 10


def test_contrasts_teach_what_a_list_is_not(lists):
    ordinary = features_of(sample_prompts(BASELINE, 3_000))
    alike = features_of(sample_prompts(["coding"], 300, seed=5))
    plain, taught = (
        fit_content(ordinary, lists, Content.none(), contrasts)
        for contrasts in ({}, {"code": alike})
    )
    scores = [
        Extractor(b"1", model)(Texts.of(sample_prompts(["coding"], 200, seed=6))).lists[:, 0]
        for model in (plain, taught)
    ]
    assert scores[1].mean() < scores[0].mean()


def test_model_survives_writing_and_reading(learned):
    text = write_content(learned, **{"from": "a test"})
    assert json.loads(text)["from"] == "a test"
    assert write_content(read_content(text), **{"from": "a test"}) == text
    assert read_content(text).tag == read_content(text).tag != Content.none().tag


def test_shipped_model_names_its_sources_and_holds_no_text():
    document = json.loads(write_content(shipped_content()))
    assert set(document) == {"shape", "lists", "families", "concepts", *Content._fields}
    assert all(np.isfinite(part).all() for part in shipped_content())


def test_score_of_one_prompt_is_bounded(learned):
    sure = learned._replace(deviations=np.full_like(learned.deviations, 1e-3))
    lists = Extractor(b"1", sure)(Texts.of(sample_prompts(["grade"], 300))).lists
    assert lists.max() == MAX_SCORE


@pytest.mark.parametrize("text", [b"", b"{}", b'{"shape": [], "lists": []}'])
def test_invalid_model_file_is_refused_with_a_remedy(text, tmp_path):
    file = tmp_path / "content.json"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match="xm learn"):
        load_content(file)


def test_missing_model_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="XM_CONTENT"):
        load_content(tmp_path / "none.json")
