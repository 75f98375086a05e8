# torchrun PROCESSES SCRIPT [ARGUMENTS]: torch's launcher with the usual variables for several machines.
# with_variables NAME... -- COMMAND...: the command as one types it, with those of the variables that are set.
# Sourced by dist_train.sh, dist_test.sh and slurm_train.sh. PYTHON is .venv's interpreter where there is one.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ -z "${PYTHON:-}" ]; then
    if [ -x "$here/../.venv/bin/python" ]; then PYTHON="$here/../.venv/bin/python"; else PYTHON=python; fi
fi

with_variables() {
    local settings=""
    while [ "$1" != -- ]; do
        [ -z "${!1:-}" ] || settings+="$(printf '%q ' "$1=${!1}")"
        shift
    done
    shift
    printf '%s' "${settings:+env $settings}"
    printf '%q ' "$@"
}

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

torchrun() {
    local processes=$1 cores address="${MASTER_ADDR:-127.0.0.1}" port="${PORT:-}"
    shift
    cores="$("$PYTHON" -c 'import os; print(len(os.sched_getaffinity(0)))')"
    # On CPUs the processes share the cores; torch would give each of them one thread.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}"
    export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"
    export TORCH_CPP_LOG_LEVEL="${TORCH_CPP_LOG_LEVEL:-ERROR}" # no warnings of hosts without a name
    [ -n "$port" ] || port="$([ "${NNODES:-1}" = 1 ] && free_port || echo 29500)"
    exec "$PYTHON" "$here/torchrun.py" \
        --nnodes "${NNODES:-1}" \
        --nproc-per-node "$processes" \
        --max-restarts "${MAX_RESTARTS:-0}" \
        --rdzv-backend machines \
        --rdzv-endpoint "$address:$port" \
        --rdzv-conf "rank=${NODE_RANK:-0}" \
        "$@"
}
