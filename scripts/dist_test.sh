#!/usr/bin/env bash
# Evaluates with N processes on this machine, a GPU each, or on the CPU where there is none:
#     bash scripts/dist_test.sh CONFIG CHECKPOINT N [test.py's options]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each, N counts one machine's processes.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 3 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
config=$1 checkpoint=$2 processes=$3
shift 3
source "$here/torchrun.sh"
torchrun "$processes" "$here/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
