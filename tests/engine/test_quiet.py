"""Warnings of libraries are ignored while anything runs quietly, and heard again after the last has ended."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from brs_detr.engine.progress.console import Quiet

ODD = "pkg_resources is deprecated"


def test_filters_are_as_before() -> None:
    quiet, before = Quiet(), list(warnings.filters)
    with pytest.raises(KeyError), quiet:
        raise KeyError
    assert warnings.filters == before
    with quiet:
        with quiet:
            assert warnings.filters != before
        warnings.warn(ODD, UserWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match=ODD):
        warnings.warn(ODD, UserWarning, stacklevel=1)


def test_many_threads() -> None:
    quiet, before = Quiet(), list(warnings.filters)

    def often(_: int) -> None:
        for _ in range(200):
            with quiet:
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(often, range(8)))
    assert warnings.filters == before
