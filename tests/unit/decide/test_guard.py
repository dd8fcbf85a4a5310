import pytest

from monitor.config import Serve
from pipelines.decide.guard import Guard, Refusal
from pipelines.decide.metrics import LookupMetrics
from pipelines.web.tokens import Tokens, new_token


@pytest.fixture
def metrics():
    return LookupMetrics()


@pytest.fixture
def known(tmp_path):
    """Tokens by right, and their file."""
    made = {right: new_token(right, right) for right in ("look", "change")}
    file = tmp_path / "tokens"
    file.write_text("\n".join(line for _, line in made.values()))
    return Tokens(file), {right: token for right, (token, _) in made.items()}


@pytest.fixture
def guard(known, metrics):
    def guard(**settings):
        return Guard(Serve(**settings), known[0], metrics)

    return guard


def test_open_look_ups_need_no_token(guard):
    assert guard().lookup("10.0.0.1", None) is None


def test_look_ups_need_a_token_if_the_settings_say_so(guard, known):
    guard = guard(lookups="token")
    for right in ("look", "change"):
        assert guard.lookup("10.0.0.1", known[1][right]) is None
    for token in (None, "", "xm_wrong"):
        assert guard.lookup("10.0.0.1", token).status == 511
        assert guard.page("10.0.0.1", token).status == 401


def test_look_ups_are_limited_per_address(guard):
    guard = guard(lookups_per_second=10)
    statuses = [guard.lookup("10.0.0.1", None) for _ in range(40)]
    assert statuses[:20] == [None] * 20
    assert statuses[-1].status == 503
    assert statuses[-1].retry >= 1
    assert guard.page("10.0.0.1", None).status == 429
    assert guard.lookup("10.0.0.2", None) is None


def test_each_item_of_a_batch_counts(guard):
    guard = guard(lookups_per_second=10)
    assert guard.page("10.0.0.1", None, 20) is None
    assert guard.page("10.0.0.1", None).status == 429


def test_reading_what_people_have_set_needs_a_token(guard, known):
    guard = guard()
    assert guard.read(known[1]["look"]) is None
    assert guard.read(None).status == guard.read("xm_wrong").status == 401


def test_changes_need_a_token_with_the_right(guard, known):
    guard = guard()
    assert guard.change(known[1]["change"]).name == "change"
    assert guard.change(known[1]["look"]).status == 403
    assert guard.change(None).status == guard.change("xm_wrong").status == 401


def test_changes_are_limited_per_token(guard, known):
    guard = guard(changes_per_minute=3)
    found = [guard.change(known[1]["change"]) for _ in range(5)]
    assert [isinstance(each, Refusal) for each in found] == [False] * 3 + [True] * 2
    assert found[-1].status == 429


def test_refusals_are_counted(guard, known, metrics):
    strict = guard(lookups="token", changes_per_minute=1)
    strict.lookup("10.0.0.1", None)
    strict.change(known[1]["look"])
    for _ in range(2):
        strict.change(known[1]["change"])
    for reason in ("token", "right", "rate"):
        labels = {"reason": reason}
        assert metrics.registry.get_sample_value("xm_refused_calls_total", labels) == 1
