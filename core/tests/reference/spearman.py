"""Prints the figures that tusk-core's tests of rank correlations hold as constants.

    python -m venv venv && venv/bin/pip install scipy numpy && venv/bin/python spearman.py

The data are written out here and again in `core/src/metrics/correlation.rs`; the two must stay the same.
"""

import numpy as np
import scipy
from scipy.stats import spearmanr

FIRST = [0.12, 0.55, 0.55, 0.90, 0.31, 0.47, 0.47, 0.47, 0.08, 0.77, 0.63, 0.29]
SECOND = [340, 512, 480, 1024, 340, 600, 512, 340, 300, 900, 512, 640]
WEIGHTS = [1, 0, 3, 2, 1, 1, 0, 2, 1, 1, 4, 1]
LOW = -np.inf
MISSING = [LOW, 1, 2, LOW, 3, 3, 5, LOW, 9, 4, 4, 8]

print(f"scipy {scipy.__version__}")
print("CORRELATION", repr(float(spearmanr(FIRST, SECOND).statistic)))
print("WEIGHTED", repr(float(spearmanr(np.repeat(FIRST, WEIGHTS), np.repeat(SECOND, WEIGHTS)).statistic)))
print("WITH_INFINITY", repr(float(spearmanr(FIRST, MISSING).statistic)))
