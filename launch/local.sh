#!/usr/bin/env bash
# Several processes that train together on this machine, each with CPU devices of its own: to try
# what will run on many machines.
#
#   launch/local.sh N [--devices=M] python -m dermjax.main --config=configs/ss.py:scale=demo ...
#
# Process 0 speaks here; the words of the others are in a folder that is named when one fails. Ctrl-C
# and SIGTERM reach all of them: they save and end. When one has ended and the others have not within
# --grace=SECONDS (120), they are ended, too. The status is the highest of all.
set -euo pipefail

usage() {
  echo "usage: launch/local.sh N [--devices=M] [--grace=SECONDS] COMMAND..." >&2
  exit 2
}

count=${1:-} devices=1 grace=120
[[ $count =~ ^[1-9][0-9]*$ ]] || usage
shift
while [[ ${1:-} == --* ]]; do
  case $1 in
    --devices=*) devices=${1#*=} ;;
    --grace=*) grace=${1#*=} ;;
    *) usage ;;
  esac
  shift
done
[[ $# -gt 0 && $devices =~ ^[1-9][0-9]*$ && $grace =~ ^[0-9]+$ ]] || usage

port=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
words=$(mktemp -d)
pids=()

# In sessions of their own: Ctrl-C reaches each once, from here.
start() {
  DERMJAX_PROCESS="127.0.0.1:$port,$count,$1" JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices" \
    setsid "${@:2}" &
  pids+=($!)
}

all() {
  local pid
  for pid in "${pids[@]}"; do
    kill "-$1" "$pid" 2>/dev/null || true
  done
}

trap 'all TERM' TERM INT
start 0 "$@"
for ((i = 1; i < count; i++)); do
  start "$i" "$@" >"$words/process-$i.log" 2>&1
done

# `wait` returns early at a signal: every process is asked until it has really ended.
worst=0 first_end='' left=("${!pids[@]}")
while ((${#left[@]})); do
  still=()
  for i in "${left[@]}"; do
    if kill -0 "${pids[i]}" 2>/dev/null; then
      still+=("$i")
      continue
    fi
    status=0
    wait "${pids[i]}" 2>/dev/null || status=$?
    ((status == 0)) || echo "local.sh: process $i of $count ended with status $status" >&2
    ((status <= worst)) || worst=$status
    first_end=${first_end:-$SECONDS}
  done
  left=("${still[@]}")
  if [[ -n $first_end ]] && ((${#left[@]} && SECONDS - first_end > grace)); then
    echo "local.sh: ${#left[@]} of $count processes still run $grace s after one ended" >&2
    all KILL
  fi
  ((${#left[@]} == 0)) || sleep 0.2
done

if ((worst)); then
  echo "local.sh: the words of processes 1 and up are in $words" >&2
else
  rm -rf "$words"
fi
exit "$worst"
