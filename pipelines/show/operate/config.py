"""Show settings: their values and sources, one in full, and what a check found."""

from __future__ import annotations

from textwrap import fill

from rich.console import Console
from rich.text import Text

from monitor.config.catalogue import Setting
from monitor.config.sources import Value
from pipelines.health.settings import Report
from pipelines.show.style import SEVERITY_STYLES, default_console

_STYLES = {"error": SEVERITY_STYLES["critical"], "warning": SEVERITY_STYLES["warning"]}


def show_report(report: Report, console: Console | None = None) -> None:
    """Print what is wrong, then the verdict."""
    console = console or default_console()
    for each in report.findings:
        text = _wrapped(f"{each.level}: {each.message}", console.width, "  ")
        console.print(Text(text, _STYLES[each.level]), soft_wrap=True)
    where = report.file or "The environment (there is no settings file)"
    warnings = len(report.findings) - report.errors
    found = f"{_count(report.errors, 'error')}, {_count(warnings, 'warning')}"
    verdict = f"{where}: {_count(report.chosen, 'setting')}, {found}."
    style = _STYLES["error"] if report.errors else "bold green"
    console.print(Text(_wrapped(verdict, console.width), style), soft_wrap=True)


def show_values(values: list[Value], console: Console | None = None) -> None:
    """Print a line per setting; where it comes from is below it if it does not fit."""
    console = console or default_console()
    if not values:
        console.print("All settings have their defaults. `xm config show --all` lists them.")
    for each in values:
        line = Text(each.setting.name, "bold").append(f" = {each.text}", "not bold")
        place = each.place or each.source
        if len(line) + len(place) + 2 <= console.width:
            line.append(" " * max(2, min(60, console.width - len(place)) - len(line)))
        else:
            line.append("\n    ")
        console.print(line.append(place, "dim"), soft_wrap=True)


def show_setting(value: Value, console: Console | None = None) -> None:
    """Print what a setting means, and its value."""
    console = console or default_console()
    setting: Setting = value.setting
    console.print(Text(setting.name, "bold"), soft_wrap=True)
    console.print(_wrapped(_sentence(setting.text), console.width, "  "), soft_wrap=True)
    rows = {
        "value": value.text,
        "from": value.place or "its default",
        "default": setting.default,
        "form": setting.form,
        "variable": setting.variable,
        "in the file": _in_file(setting),
    }
    if setting.deprecated:
        rows["deprecated"] = setting.deprecated
    for name, text in rows.items():
        console.print(Text(f"  {name:12}", "dim").append(text), soft_wrap=True)


def _in_file(setting: Setting) -> str:
    *section, name = setting.path
    return f"[{'.'.join(section)}] {name} = …" if section else f"{name} = …"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else f"no {what}s"


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_on_hyphens=False,
        break_long_words=False,
    )
