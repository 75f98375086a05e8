#!/usr/bin/env bash
# Trains on a Slurm cluster:
#     GPUS=16 GPUS_PER_NODE=8 bash scripts/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py's options]
# Also read: CPUS_PER_TASK (5), SRUN_ARGS (further options of srun), PORT (29500).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 3 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
partition=$1 job=$2 config=$3
shift 3
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
if [ -x "$here/../.venv/bin/python" ]; then python="$here/../.venv/bin/python"; else python=python; fi

read -ra extra <<<"${SRUN_ARGS:-}"
exec srun -p "$partition" \
    --job-name="$job" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    "${extra[@]}" \
    "$python" -u "$here/train.py" "$config" --launcher slurm "$@"
