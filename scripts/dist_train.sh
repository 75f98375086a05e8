#!/usr/bin/env bash
# Trains with N processes on this machine, a GPU each, or on the CPU where there is none:
#     bash scripts/dist_train.sh CONFIG N [train.py's options]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each, N counts one machine's processes.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 2 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
source "$here/torchrun.sh"
variables=(NNODES NODE_RANK MASTER_ADDR PORT MAX_RESTARTS CONNECT_MINUTES)
export BRS_DETR_COMMAND  # with which a training that was stopped can be continued
BRS_DETR_COMMAND="$(with_variables "${variables[@]}" -- bash "$0" "$@")"
config=$1 processes=$2
shift 2
torchrun "$processes" "$here/train.py" "$config" --launcher pytorch "$@"
