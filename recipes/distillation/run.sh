#!/usr/bin/env bash
# The jobs of this folder one after another, each with its processor seconds in runs/distillation/seconds.tsv. Called again, it goes on.
#   recipes/distillation/run.sh ../shared/data
set -euo pipefail
data=$1 out=runs/distillation
mkdir -p "$out"

cut_rows() { # FILE SPLIT ROWS: as many abstracts as press releases
    for set in scitldr senate_headline; do
        { xz -dc "$data/$set/$2.jsonl.xz" || true; } 2>/dev/null | head -n "$3"
    done >"$out/$1.jsonl"
}
cut_rows train train 960
cut_rows documents train 384 # those that the teacher writes of
cut_rows validation validation 60

TIMEFORMAT='%U'
for job in words comparison pretrained labels mix fresh; do
    verb=distill
    if [ "$job" = fresh ]; then verb=finetune; fi
    echo "== $job"
    if [ -d "$out/$job/model" ]; then continue; fi
    { time pegasus "$verb" "recipes/distillation/$job.toml" 2>&3; } 3>&2 2>"$out/.seconds"
    printf '%s\t%s\n' "$job" "$(cat "$out/.seconds")" >>"$out/seconds.tsv"
done
