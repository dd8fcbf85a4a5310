"""What a switch would change: the decisions in force, applied as they are and as they would be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from monitor.alerting.alerts import ACTIONS, Action
from monitor.alerting.enforcement import SHADOW, SHADOW_KINDS, Control, Switch, effective
from monitor.errors import InputError
from pipelines.console.page import Console
from pipelines.console.view.history import decisions_in_force

Name = Literal["kill", "shadow", "caps"]
State = Literal["on", "off", "default"]
_STATES: dict[Name, tuple[State, ...]] = {
    "kill": ("on", "off"),
    "shadow": ("on", "off", "default"),
    "caps": ("on", "off", "default"),
}
_ON: dict[State, bool | None] = {"on": True, "off": False, "default": None}
_MOST = 10_000  # subjects that are looked up; more would take longer than a page may
_PART = 1_000  # at a time
_SHOWN = 5  # subjects that are named


class Setting(msgspec.Struct, frozen=True):
    """A switch and its new state.

    Attributes:
        kind: of alert, for shadow mode of one kind only; else empty.
    """

    name: Name
    state: State
    kind: str = ""

    @property
    def on(self) -> bool | None:
        """As `ControlStore.switch` takes it."""
        return _ON[self.state]


class Effect(msgspec.Struct, frozen=True):
    """What a switch would change.

    Attributes:
        now, then: subjects by what gateways do with them; those that pass are left out.
        more, less: subjects that gateways would treat more or less strictly.
        examples: some of these.
        is_whole: whether all subjects with a decision were looked up.
        is_known: whether it is known if shadow mode is on; if not, it counts as on.
    """

    now: dict[Action, int]
    then: dict[Action, int]
    more: int
    less: int
    examples: list[str]
    is_whole: bool
    is_known: bool


def setting_of(name: str, state: str, kind: str) -> Setting:
    """What a form chose.

    Raises:
        InputError: if there is no such switch, state or kind.
    """
    if name not in _STATES or state not in _STATES[name]:
        raise InputError(f"There is no switch {name!r} with a state {state!r}: choose again.")
    if kind and (name != "shadow" or kind not in SHADOW_KINDS):
        raise InputError(f'There is no kind "{kind}". Choose one of {", ".join(SHADOW_KINDS)}.')
    return Setting(name, state, kind)


def effect(console: Console, setting: Setting) -> Effect:
    """What a switch would change, by the decisions in Redis at this moment."""
    control, shadow, now = console.control.read(), console.store.shadow(), time.time()
    after, default = _after(control, setting, now), shadow is not False
    rows, total = decisions_in_force(console.view, (), now, limit=_MOST)
    subjects = [row.subject for row in rows]
    pairs = [
        (
            subject,
            effective(decisions, control, now, default).action,
            effective(decisions, after, now, default).action,
        )
        for part in _parts(subjects)
        for subject, decisions in zip(part, console.store.in_force(part), strict=True)
    ]
    changed = [(subject, _rank(then) - _rank(was)) for subject, was, then in pairs if was != then]
    return Effect(
        _counts(was for _, was, _ in pairs),
        _counts(then for _, _, then in pairs),
        sum(step > 0 for _, step in changed),
        sum(step < 0 for _, step in changed),
        [subject for subject, _ in changed[:_SHOWN]],
        total <= _MOST,
        shadow is not None or not any(_depends(each, now) for each in (control, after)),
    )


def _depends(control: Control, now: float) -> bool:
    """Whether shadow mode is as the settings of the workers say."""
    on, off = (control.is_on(SHADOW, now, default) for default in (True, False))
    return on != off


def _after(control: Control, setting: Setting, now: float) -> Control:
    """The control with the switch set."""
    field = f"{setting.name}:{setting.kind}" if setting.kind else setting.name
    switches = {name: each for name, each in control.switches.items() if name != field}
    if setting.on is not None:
        switches[field] = Switch(setting.on, "", "", now)
    return msgspec.structs.replace(control, switches=switches)


def _counts(actions: Iterable[Action]) -> dict[Action, int]:
    found = Counter(actions)
    return {action: found[action] for action in reversed(ACTIONS[1:]) if found[action]}


def _rank(action: Action) -> int:
    return ACTIONS.index(action)


def _parts(subjects: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(subjects), _PART):
        yield subjects[start : start + _PART]
