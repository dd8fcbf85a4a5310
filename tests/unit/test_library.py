"""The library's face: what `import monitor` offers, and what it costs."""

import subprocess
import sys

import pytest

import monitor


@pytest.mark.parametrize("name", monitor.__all__)
def test_library_exports_its_classes(name):
    assert getattr(monitor, name).__name__ == name


def test_library_has_no_other_attributes():
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = monitor.Nonsense


def test_import_loads_nothing_else():
    code = "import sys, monitor; print(sorted(set(sys.modules) & {'numpy', 'numba', 'msgspec'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_metrics_register_nothing_on_import():
    code = (
        "import prometheus_client as p, monitor.engine, monitor.linker;"
        "print(p.REGISTRY.get_sample_value('xm_events_total'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
