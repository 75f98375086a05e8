#!/usr/bin/env bash
# From nothing to a trained detector, on a CPU: makes .venv, writes the digits data set, trains, evaluates, predicts.
#     bash scripts/quickstart.sh [--epochs N] [--config CONFIG]
# Everything is left in work_dirs/quickstart; the result of an earlier run is moved aside, not lost. A run that was killed
# begins again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

config=configs/brs_detr/brs-detr_quickstart_digits.py
epochs=()
while [ $# -gt 0 ]; do
    case "$1" in
        --epochs) epochs=(--epochs "${2:?--epochs needs a number}"); shift 2 ;;
        --config) config="${2:?--config needs a file}"; shift 2 ;;
        -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit ;;
        *) echo "error: unknown option $1, see --help" >&2; exit 2 ;;
    esac
done

source scripts/setup_env.sh requirements.txt

final=work_dirs/quickstart
work=work_dirs/.quickstart-unfinished # moved to its place when it is complete

echo "== Data"
"$PYTHON" -m brs_detr.data.digits --out data/digits
echo "== Training $config"
"$PYTHON" scripts/train.py "$config" --work-dir "$work" --overwrite --seed 0 "${epochs[@]}"
rm -rf "$work/predictions"
echo "== Evaluation of the best epoch"
checkpoint="$(ls "$work"/best_*.pth)"
"$PYTHON" scripts/test.py "$config" "$checkpoint" --work-dir "$work" --out "$work/metrics.json"
echo "== Predictions on held-out images"
"$PYTHON" scripts/predict.py "$config" "$checkpoint" data/digits/test \
    --ann data/digits/annotations/test.json --out "$work/predictions"
echo "== Report"
"$PYTHON" scripts/report.py "$config" "$checkpoint" --cfg-options work_dir="$work" --out "$work/report.html"

if [ -e "$final" ]; then
    earlier="$final-$(date -r "$final" +%Y%m%d-%H%M%S)"
    mv "$final" "$earlier"
    echo "The earlier result is now in $earlier"
fi
mv "$work" "$final"
"$PYTHON" -m brs_detr.engine.progress.summary "$final"
