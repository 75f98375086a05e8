#!/usr/bin/env bash
# Runs the tests in .venv, which it makes if there is none; arguments go to pytest:
#     bash scripts/run_tests.sh [-k NAME] [tests/losses] ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup_env.sh requirements.txt tests/requirements.txt
install_browser

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # one thread a process: the processes share the cores
# three for two cores: many tests wait for processes of their own
exec "$PYTHON" -m pytest -n "${PYTEST_WORKERS:-3}" --dist worksteal "$@"
