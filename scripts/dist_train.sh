#!/usr/bin/env bash
# Trains with N processes on this machine, a GPU each, or on the CPU where there is none:
#     bash scripts/dist_train.sh CONFIG N [train.py's options]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each, N counts one machine's processes.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 2 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
export BRS_DETR_COMMAND  # with which a training that was stopped can be continued
BRS_DETR_COMMAND="${NNODES:+env NNODES=$NNODES NODE_RANK=${NODE_RANK:-0} MASTER_ADDR=${MASTER_ADDR:-127.0.0.1} }"
BRS_DETR_COMMAND+="${PORT:+env PORT=$PORT }$(printf '%q ' bash "$0" "$@")"
config=$1 processes=$2
shift 2
source "$here/torchrun.sh"
torchrun "$processes" "$here/train.py" "$config" --launcher pytorch "$@"
