#!/usr/bin/env bash
# `launch/tpu_vm.sh study`, which has read the options: ARGUMENTS FOLDER [FLAGS].
#
# Object stores have no locks: VMs that only share the folder would do the same runs, and the same
# pretraining, at the same time. So each VM is given run numbers of its own. Of the runs that share
# a pretraining (all of SS, all of SS-IN, or those of one trial) the first one trains it, while VMs
# that are left do what needs none; then come the others. No VM waits for another: it is deleted
# with its share done, and created for the next.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
children=() statuses=() shares=()

say() { printf 'tpu_vm.sh: %s\n' "$*" >&2; }
refuse() { say "$@" && exit 2; }

# On every exit: the VMs' scripts end first, and say what they leave.
last_words() {
  local status=$? child
  trap '' HUP INT TERM
  for child in "${children[@]}"; do kill -TERM -- "-$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do wait "$child" || true; done
  if compgen -G "$TPU_WORDS/*" >/dev/null; then
    cat "$TPU_WORDS"/* | while IFS= read -r line; do say "$line"; done
  fi
  rm -r "$TPU_WORDS"
  exit "$status"
}

# NUMBER COMMAND: tpu_vm.sh run, on that VM of the study.
on_vm() {
  local name=$TPU_NAME-$1
  shift
  if [[ $TPU_DRY_RUN ]]; then
    TPU_NAME=$name "$BASH" "$root/launch/tpu_vm.sh" run "$@"
    return
  fi
  rm -f "$TPU_WORDS/$name"
  set -m # a process group of its own, which Ctrl-C reaches from here, once
  TPU_NAME=$name "$BASH" "$root/launch/tpu_vm.sh" run "$@" </dev/null > >(labelled "$name") 2>&1 &
  set +m
  children+=($!)
}

labelled() {
  trap '' HUP INT TERM # the last words pass here
  while IFS= read -r line; do printf '[%s] %s\n' "$1" "$line"; done
}

# Into `statuses`: how they ended.
gather() {
  local child status
  statuses=()
  for child in "${children[@]}"; do
    status=0
    wait "$child" || status=$?
    statuses+=("$status")
  done
  children=()
  [[ ! $TPU_DRY_RUN ]] || statuses=(0)
}

# VMS NUMBERS: into `shares`, one to each in turn, as 3,11,19.
deal() {
  local vms=$1 i=0 number
  shift
  shares=()
  for number in "$@"; do
    shares[i]=${shares[i]:+${shares[i]},}$number
    i=$(((i + 1) % vms))
  done
}

# SHARES: a VM for each; returns when all have ended.
round() {
  local i=0 share
  for share in "$@"; do
    i=$((i + 1))
    say "$TPU_NAME-$i: runs $share"
    on_vm "$i" bash ../tpu_worker.sh each "$share" "${study[@]}"
  done
  gather
}

# Into `firsts`, `rest` and `others`: the first runs of each pretraining, the other runs that share
# one, and those without. A line of stdin is `  4 missing   --config=configs/ss_in.py:... [FLAGS]`.
sort_runs() {
  local line number known=' ' pretraining run='^ *([0-9]+) .*--config=configs/([a-z_]+)\.py:'
  firsts=() rest=() others=()
  while IFS= read -r line; do
    [[ $line =~ $run ]] || continue
    number=${BASH_REMATCH[1]} pretraining=${BASH_REMATCH[2]}
    [[ ! $line =~ --config\.pretrain\.repeat=([0-9]+) ]] || pretraining+=-${BASH_REMATCH[1]}
    if [[ $pretraining != ss* ]]; then
      others+=("$number")
    elif [[ $known == *" $pretraining "* ]]; then
      rest+=("$number")
    else
      known+="$pretraining "
      firsts+=("$number")
    fi
  done
}

main() {
  local arguments=$1 folder=${2:-} study listed firsts rest others first i
  [[ $folder == gs://* ]] || refuse "FOLDER = '$folder' must be gs://..., which all VMs share"
  [[ $TPU_VMS =~ ^[1-9][0-9]*$ ]] || refuse "--vms = $TPU_VMS must be at least 1"
  shift 2
  local flags=("--config=configs/study.py:$arguments" "$@")
  study=(python -m dermjax.main "${flags[@]}" "--workdir=$folder")
  listed=$("${PYTHON:-python}" -m dermjax.main "${flags[@]}" "--workdir=$root/dist/none" \
    --config.dry_run=True) || refuse "the runs cannot be listed; mend what is said above"
  sort_runs <<<"$listed"

  TPU_WORDS=$(mktemp -d) # a file for each VM that is left up
  export TPU_WORDS
  trap last_words EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if ((TPU_VMS == 1 || ${#firsts[@]} == 0)); then
    deal "$TPU_VMS" "${firsts[@]}" "${rest[@]}" "${others[@]}"
    round "${shares[@]}"
  else
    deal "$TPU_VMS" "${firsts[@]}"
    first=("${shares[@]}")
    if ((TPU_VMS > ${#firsts[@]})); then
      deal $((TPU_VMS - ${#firsts[@]})) "${others[@]}"
      round "${first[@]}" "${shares[@]}"
      others=()
    else
      round "${first[@]}"
    fi
    for i in "${!first[@]}"; do
      [[ $TPU_DRY_RUN || ${statuses[i]} == 0 ]] ||
        refuse "run ${first[i]}, which pretrains for others, has failed"
    done
    deal "$TPU_VMS" "${rest[@]}" "${others[@]}"
    round "${shares[@]}"
  fi
  # Without a number, as after an array of SLURM's: what failed once more, and the report.
  say "$TPU_NAME-1: the report"
  on_vm 1 "${study[@]}"
  gather
  return "${statuses[0]}"
}

main "$@"
