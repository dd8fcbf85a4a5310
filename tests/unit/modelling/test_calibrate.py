import tomllib
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from monitor.config import Settings
from monitor.detectors import DETECTORS
from monitor.errors import InputError
from monitor.records.baseline import Reference, read_reference
from monitor.records.profile import COMBINED
from pipelines.modelling import cross_fitting
from pipelines.modelling.calibrate import calibrate
from pipelines.modelling.settings_file import Calibrated, settings_of
from pipelines.show import calibration
from tests.support.requests import elicitor, in_order, person

DAY_OF_REQUESTS = 24 * 12 + 1  # one every five minutes
KEYS = [f"sk-{i}" for i in range(12)]


@pytest.fixture
def file(tmp_path):
    """Twelve people for a day, and one who asks for the reasoning trace."""
    population = [person(key, DAY_OF_REQUESTS) for key in KEYS]
    file = tmp_path / "ordinary.jsonl"
    file.write_bytes(b"\n".join(in_order(*population, elicitor("sk-cot"))))
    return file


@pytest.fixture
def run(file, tmp_path):
    def run(name="public.json", **options):
        options = {"weight": 1_000.0, "source": "a test", "command": "xm calibrate …"} | options
        return calibrate([str(file)], Settings(), tmp_path / name, **options)

    return run


def peaks_of(path):
    return read_reference(path.read_bytes()).peaks


def test_the_reference_is_of_all_keys(run, tmp_path):
    assert run()[0] == 13 + 12  # people's last request is of the next day
    assert peaks_of(tmp_path / "public.json").sum(axis=1) == pytest.approx(1_000, abs=1)


def test_thresholds_do_not_change_the_reference(run, tmp_path):
    run("one.json")
    run("two.json", false_alerts=10)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_the_same_traffic_gives_the_same_files(run, tmp_path):
    def files():
        run(false_alerts=10)
        return [(tmp_path / name).read_bytes() for name in ("public.json", "public.toml")]

    assert files() == files()


def test_the_halves_are_other_keys_and_together_all(file):
    learned = cross_fitting.learn([str(file)], Settings())
    counts = [half.peaks[0].sum() for half in learned.halves]
    assert sum(counts) == learned.key_days
    assert min(counts) > 0.2 * learned.key_days
    assert learned.days == pytest.approx(1.0, abs=1e-3)


def test_no_key_is_judged_against_itself(file):
    learned = cross_fitting.learn([str(file)], Settings())
    crossed, itself = (
        cross_fitting.judge([str(file)], Settings(), halves, 1_000).smallest
        for halves in (learned.halves, learned.halves[::-1])
    )
    assert crossed["elicitation"].min() < 0.1 * itself["elicitation"].min()


def test_of_each_key_and_day_the_smallest_probability_counts(file):
    p, _ = cross_fitting.judge([str(file)], Settings(), [Reference.empty()] * 2, 1.0)
    assert {detector.name for detector in DETECTORS} <= set(p)
    assert {len(each) for each in p.values()} == {13}  # one request a day is no look


def test_the_settings_are_toml_that_says_where_it_is_from(run, tmp_path):
    run(false_alerts=10, keys=25)
    text = (tmp_path / "public.toml").read_text()
    found = tomllib.loads(text)
    assert found["reference"] == str(tmp_path / "public.json")
    settings = Settings(**found).detection
    assert settings.critical <= settings.warning <= settings.info
    assert "# Made by: xm calibrate …\n# From 25 days of an ordinary key in 1.0 days:" in text
    assert "ordinary.jsonl: 25" in text


def test_what_is_shown_fits_80_columns(run):
    out = StringIO()
    calibration.show(run(false_alerts=10)[1], Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert all(detector.name in out.getvalue() for detector in DETECTORS)


def test_a_content_model_is_named_beside_its_thresholds(run, tmp_path):
    learned = cross_fitting.Learned([], [])
    made = Calibrated([], 1, learned, {}, tmp_path / "a", tmp_path / "b", "", "")
    assert tomllib.loads(settings_of(made))["content"] == str(tmp_path / "b")


def test_a_rate_too_low_to_be_seen_is_said_to_be_extrapolated(run, tmp_path):
    run(false_alerts=1)
    assert "# Warnings are extrapolated, for 1 false" in (tmp_path / "public.toml").read_text()


def test_a_rate_far_too_low_to_be_seen_is_refused_with_what_is_needed(run, tmp_path):
    with pytest.raises(InputError, match=r"25 days of a key are too few .* record 23 days"):
        run(false_alerts=0.1)
    assert not (tmp_path / "public.json").exists()


def test_recordings_of_hours_are_refused_with_what_to_do(tmp_path):
    file = tmp_path / "hour.jsonl"
    file.write_bytes(b"\n".join(person("sk-1", 13)))
    with pytest.raises(InputError, match=r"hour\.jsonl holds 1\.0 hours.* join the shorter ones"):
        calibrate([str(file)], Settings(), tmp_path / "out", weight=1.0, source="", false_alerts=1)


def test_files_without_requests_teach_nothing(tmp_path):
    (tmp_path / "empty").write_bytes(b"\nno JSON\n")
    with pytest.raises(InputError, match="no requests in these files to learn from"):
        cross_fitting.learn([str(tmp_path / "empty")], Settings())


def test_the_reference_is_not_written_over_with_the_thresholds(run):
    with pytest.raises(InputError, match=r"public\.toml is where the thresholds go"):
        run("public.toml", false_alerts=10)


def test_what_can_be_read_only_once_is_refused(tmp_path):
    with pytest.raises(InputError, match="stdin can be read only once"):
        calibrate(["-"], Settings(), tmp_path / "out", weight=1.0, source="", false_alerts=1)


def test_how_far_keys_get_with_all_signs_together_is_learned(file):
    learned = cross_fitting.learn([str(file)], Settings())
    _, halves = cross_fitting.judge([str(file)], Settings(), learned.halves, 1_000)
    reached = sum(half.peaks[COMBINED] for half in halves)
    assert reached.sum() == learned.key_days
    assert reached[1:].sum() >= 1  # the one who asks for the reasoning trace


def test_keys_that_nothing_can_be_said_of_have_no_findings(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_bytes(b"\n".join(person("sk-1", 5)))
    p, _ = cross_fitting.judge([str(file)], Settings(), [Reference.empty()] * 2, 1.0)
    assert np.min([*p.values()], axis=0).shape == (0,)
