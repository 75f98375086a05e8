"""How many problems the comparison with the brute force draws."""

import hypothesis
import pytest


def pytest_configure(config: pytest.Config) -> None:
    examples = 12_000 if config.getoption("--nightly", default=False) else 300
    hypothesis.settings.register_profile("definition", max_examples=examples, deadline=None, database=None)
