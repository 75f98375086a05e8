#!/usr/bin/env bash
# Trains on a Slurm cluster:
#     GPUS=16 GPUS_PER_NODE=8 bash scripts/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py's options]
# Also read: CPUS_PER_TASK (5), SRUN_ARGS (further options of srun), PORT (29500), BATCH (submit a batch job, which is
# put into the queue again, with --resume auto, when it is preempted or its time is over).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
partition=$1 job=$2 config=$3
shift 3
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
if [ -x "$here/../.venv/bin/python" ]; then python="$here/../.venv/bin/python"; else python=python; fi

read -ra extra <<<"${SRUN_ARGS:-}"
training=("$python" -u "$here/train.py" "$config" --launcher slurm "$@")
export BRS_DETR_COMMAND
BRS_DETR_COMMAND="env GPUS=$gpus GPUS_PER_NODE=$gpus_per_node $(printf '%q ' bash "$0" "$partition" "$job" "$config" "$@")"
options=(
    -p "$partition"
    --job-name="$job"
    --gres="gpu:$gpus_per_node"
    --ntasks="$gpus"
    --ntasks-per-node="$gpus_per_node"
    --cpus-per-task="${CPUS_PER_TASK:-5}"
    --signal=USR1@120  # seconds before the time limit; the training saves, and ends with 75
    "${extra[@]}"
)
[ -n "${BATCH:-}" ] || exec srun "${options[@]}" --kill-on-bad-exit=1 "${training[@]}"

exec sbatch --requeue --open-mode=append "${options[@]}" <<END
#!/usr/bin/env bash
srun --cpus-per-task="\$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 $(printf '%q ' "${training[@]}") --resume auto
status=\$?
case \$status in  # saved for SIGUSR1, or still starting when it came
    75 | 138) scontrol requeue "\$SLURM_JOB_ID" ;;
esac
exit \$status
END
