"""Tests and benchmarks."""

import os
import sys

if "pytest" in sys.modules:
    # Test processes run in parallel, and the threads of NumPy's BLAS would compete for the cores:
    # they make the tests of campaigns and of training three to ten times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
