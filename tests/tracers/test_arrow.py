"""NumPy to Arrow, by pyarrow's own account of the same values."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from tracers.arrow import column


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.int32, np.uint16, np.uint8])
def test_the_same_as_pyarrow_makes_of_it(dtype) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, 0, 1, limits.max], dtype)
    assert column(values).equals(pa.array(values))
    assert column(values[::2]).equals(pa.array(values[::2]))
    assert column(values[:0]).equals(pa.array(values[:0]))


def test_pandas_stays_unloaded() -> None:
    code = (
        "import sys, numpy\nimport tracers.events\nfrom tracers.arrow import column\n"
        "column(numpy.arange(3))\nsys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
