"""The processor that kernels are compiled for.

By default numba compiles for the very processor that it runs on, and such code is of no use on
another one. On x86 the kernels are compiled for x86-64-v3 instead: every server processor since
2015 runs it, and measured no slower. So kernels can be compiled when the package is built.
"""

from __future__ import annotations

import os
import platform

import llvmlite.binding as llvm
import numba

PORTABLE = "x86-64-v3"
_FEATURES = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")


def choose_target() -> str:
    """Choose the processor for all code that this process compiles, and return its name.

    NUMBA_CPU_NAME has precedence. A processor that is not an x86-64-v3 gets code of its own.
    """
    named = os.environ.get("NUMBA_CPU_NAME")
    if named:
        return named
    has = llvm.get_host_cpu_features()
    if platform.machine() != "x86_64" or not all(has.get(feature) for feature in _FEATURES):
        return str(llvm.get_host_cpu_name())
    numba.config.CPU_NAME, numba.config.CPU_FEATURES = PORTABLE, ""
    return PORTABLE
