#!/usr/bin/env bash
# Trains on a Slurm cluster, with a process on each of 16 GPUs, or with 4 processes on CPUs:
#     GPUS=16 GPUS_PER_NODE=8 bash scripts/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py's options]
#     PROCESSES=4 PROCESSES_PER_NODE=2 bash scripts/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py's options]
# Also read: CPUS_PER_TASK (the data loaders' workers and one more), PORT (from the job's number), SRUN_ARGS (further
# options of srun), BATCH (submit a batch job, which is put into the queue again, with --resume auto, when it is
# preempted or its time is over).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
if [ -n "${BATCH:-}" ] && [[ " $* " == *" --overwrite "* ]]; then
    echo "error: BATCH adds --resume auto, which excludes --overwrite: remove the old work directory, or choose another" \
        "--work-dir." >&2
    exit 2
fi
source "$here/torchrun.sh"
variables=(GPUS GPUS_PER_NODE PROCESSES PROCESSES_PER_NODE CPUS_PER_TASK PORT CONNECT_MINUTES SRUN_ARGS BATCH)
export BRS_DETR_COMMAND  # with which a training that was stopped can be continued
BRS_DETR_COMMAND="$(with_variables "${variables[@]}" -- bash "$0" "$@")"
partition=$1 job=$2 config=$3
shift 3
if [ -n "${PROCESSES:-}" ]; then
    processes=$PROCESSES per_node=${PROCESSES_PER_NODE:-$PROCESSES} devices=()
else
    processes=${GPUS:-8}
    per_node=${GPUS_PER_NODE:-$((processes < 8 ? processes : 8))}
    devices=(--gres="gpu:$per_node")
fi
cpus=${CPUS_PER_TASK:-$(PYTHONPATH="$here/.." "$PYTHON" -W ignore -m brs_detr.engine.cpus "$config" "$@")}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$cpus}" MKL_NUM_THREADS="${MKL_NUM_THREADS:-$cpus}"
export TORCH_CPP_LOG_LEVEL="${TORCH_CPP_LOG_LEVEL:-ERROR}"

read -ra extra <<<"${SRUN_ARGS:-}"
training=("$PYTHON" -u "$here/train.py" "$config" --launcher slurm "$@")
options=(
    -p "$partition"
    --job-name="$job"
    "${devices[@]}"
    --ntasks="$processes"
    --ntasks-per-node="$per_node"
    --cpus-per-task="$cpus"
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
