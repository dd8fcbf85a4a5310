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
from pipelines.modelling.calibrate import save_calibration
from pipelines.modelling.settings_file import Calibration, to_toml
from pipelines.show import calibration
from tests.support.requests import elicitor, in_order, person

DAY_OF_REQUESTS = 24 * 12 + 1  # one every five minutes
KEYS = [f"sk-{i}" for i in range(12)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Twelve ordinary keys for a day, and one that asks for reasoning traces."""
    population = [person(key, DAY_OF_REQUESTS) for key in KEYS]
    file = tmp_path_factory.mktemp("recording") / "ordinary.jsonl"
    file.write_bytes(b"\n".join(in_order(*population, elicitor("sk-cot"))))
    return file


@pytest.fixture(scope="module")
def run(file):
    def run(out, **options):
        options = {"weight": 1_000.0, "source": "a test", "command": "xm calibrate …"} | options
        return save_calibration([str(file)], Settings(), out, **options)

    return run


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The reference file of `calibrated`."""
    return tmp_path_factory.mktemp("calibration") / "reference.json"


@pytest.fixture(scope="module")
def calibrated(run, reference):
    """A calibration with thresholds for 25 keys."""
    return run(reference, false_alerts=10, keys=25)


@pytest.fixture(scope="module")
def split(file):
    return cross_fitting.split_reference([str(file)], Settings())


def load_peaks(path):
    return read_reference(path.read_bytes()).peaks


def test_reference_contains_all_keys(calibrated, reference):
    assert calibrated[0] == 13 + 12  # the last request of each ordinary key is on the next day
    assert load_peaks(reference).sum(axis=1) == pytest.approx(1_000, abs=1)


def test_thresholds_do_not_change_the_reference(run, calibrated, reference, tmp_path):
    run(tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == reference.read_bytes()


def test_calibration_is_deterministic(run, calibrated, reference):
    files = [reference, reference.with_suffix(".toml")]
    before = [file.read_bytes() for file in files]
    run(reference, false_alerts=10, keys=25)
    assert [file.read_bytes() for file in files] == before


def test_halves_partition_the_keys(split):
    counts = [half.peaks[0].sum() for half in split.halves]
    assert sum(counts) == split.key_days
    assert min(counts) > 0.2 * split.key_days
    assert split.days == pytest.approx(1.0, abs=1e-3)


def test_no_key_is_scored_against_itself(file, split):
    crossed, itself = (
        cross_fitting.cross_score([str(file)], Settings(), halves, 1_000).smallest
        for halves in (split.halves, split.halves[::-1])
    )
    assert crossed["elicitation"].min() < 0.1 * itself["elicitation"].min()


def test_scores_have_one_value_per_key_day(file):
    p, _ = cross_fitting.cross_score([str(file)], Settings(), [Reference.empty()] * 2, 1.0)
    assert {detector.name for detector in DETECTORS} <= set(p)
    assert {len(each) for each in p.values()} == {13}  # a single request is not evaluated


def test_settings_file_is_toml_with_its_origin(calibrated, reference):
    text = reference.with_suffix(".toml").read_text()
    found = tomllib.loads(text)
    assert found["reference"] == str(reference)
    settings = Settings(**found).detection
    assert settings.critical <= settings.warning <= settings.info
    assert "# Made by: xm calibrate …\n# From 25 key-days of ordinary traffic in 1.0 days:" in text
    assert "ordinary.jsonl: 25" in text


def test_calibration_tables_fit_80_columns(calibrated):
    out = StringIO()
    calibration.show(calibrated[1], Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert all(detector.name in out.getvalue() for detector in DETECTORS)


def test_settings_file_names_the_content_model(tmp_path):
    split = cross_fitting.SplitReference([], [])
    made = Calibration([], 1, split, {}, tmp_path / "a", tmp_path / "b", "", "")
    assert tomllib.loads(to_toml(made))["content"] == str(tmp_path / "b")


def test_settings_file_reports_extrapolation(run, tmp_path):
    run(tmp_path / "reference.json", false_alerts=1)
    text = (tmp_path / "reference.toml").read_text()
    assert "# The threshold of warnings is extrapolated: 25 key-days cannot" in text


def test_calibration_rejects_too_little_traffic(run, tmp_path):
    with pytest.raises(InputError, match=r"25 key-days are too few .* Record 23 days"):
        run(tmp_path / "reference.json", false_alerts=0.1)
    assert not (tmp_path / "reference.json").exists()


def test_calibration_rejects_short_recordings(tmp_path):
    file = tmp_path / "hour.jsonl"
    file.write_bytes(b"\n".join(person("sk-1", 13)))
    with pytest.raises(
        InputError,
        match=r"hour\.jsonl covers 1\.0 hours.* Put the files of one",
    ):
        save_calibration(
            [str(file)], Settings(), tmp_path / "out", weight=1.0, source="", false_alerts=1
        )


def test_calibration_rejects_files_without_requests(tmp_path):
    (tmp_path / "empty").write_bytes(b"\nno JSON\n")
    with pytest.raises(InputError, match=r"No request of .* is valid"):
        cross_fitting.split_reference([str(tmp_path / "empty")], Settings())


def test_calibration_does_not_overwrite_the_reference(run, tmp_path):
    with pytest.raises(InputError, match=r"reference\.toml is the name of the settings file"):
        run(tmp_path / "reference.toml", false_alerts=10)


def test_calibration_rejects_stdin(tmp_path):
    with pytest.raises(InputError, match="stdin can be read only once"):
        save_calibration(["-"], Settings(), tmp_path / "out", weight=1.0, source="", false_alerts=1)


def test_reference_has_combined_levels(file, split):
    _, halves = cross_fitting.cross_score([str(file)], Settings(), split.halves, 1_000)
    reached = sum(half.peaks[COMBINED] for half in halves)
    assert reached.sum() == split.key_days
    assert reached[1:].sum() >= 1  # the key that asks for reasoning traces


def test_keys_with_few_requests_have_no_scores(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_bytes(b"\n".join(person("sk-1", 5)))
    p, _ = cross_fitting.cross_score([str(file)], Settings(), [Reference.empty()] * 2, 1.0)
    assert np.min([*p.values()], axis=0).shape == (0,)
