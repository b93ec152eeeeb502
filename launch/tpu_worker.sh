#!/usr/bin/env bash
# What every worker of a TPU VM does; launch/tpu_vm.sh copies this file there and calls it by ssh.
#
#   install ARCHIVE|SPEC [DATA]   start COMMAND   job   follow LINES   stop
#   each NUMBERS COMMAND          the command with --config.only=N, for every N of 3,11,19
set -euo pipefail
folder=~/dermjax-run venv=~/dermjax-venv source=~/dermjax-source

install() {
  local spec=$1 data=${2:-}
  mkdir -p "$folder" "$source"
  if [[ $spec == *.tgz ]]; then
    rm -rf "$source" && mkdir "$source"
    tar -xzf ~/"$spec" -C "$source"
    spec='.[tpu]'
  fi
  # The images of TPU VMs bring Python 3.10, and dermjax needs 3.11: uv takes one that is there, or
  # fetches one.
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
  [[ -x $venv/bin/python ]] || ~/.local/bin/uv venv --quiet --python '>=3.11' "$venv"
  cd "$source"
  ~/.local/bin/uv pip install --quiet --python "$venv/bin/python" --reinstall-package dermjax "$spec"
  [[ -z $data ]] || gcloud storage rsync --recursive "$data" "$folder/$(basename "$data")"
}

is_running() { [[ -s pid && ! -s status ]] && kill -0 "$(<pid)" 2>/dev/null; }

start() {
  local given
  given=$(printf '%q ' "$@")
  if is_running; then
    [[ $(<wanted) != "$given" ]] || return 0
    echo "another command is running: $(<wanted); end it with: tpu_vm.sh stop" >&2
    exit 3
  fi
  rm -f status stopped
  [[ ! -e log ]] || mv log log.before
  printf '%s\n' "$given" >wanted
  # A session of its own, which a lost connection does not end; `stop` signals it as a whole.
  PATH="$venv/bin:$PATH" setsid nohup bash ~/tpu_worker.sh work "$@" </dev/null >log 2>&1 &
  echo $! >pid
}

# The command, and what became of it. dermjax saves at SIGTERM and exits with 0, also when it is the
# VM that shuts down: that must not read as done.
work() {
  local status=0 signalled=
  trap 'signalled=1' TERM
  "$@" || status=$?
  [[ -z $signalled ]] || status=interrupted
  [[ ! -e stopped ]] || status=143
  echo "$status" >status
}

job() {
  if is_running; then
    echo "job: running"
  elif [[ -s status && $(<status) != interrupted ]]; then
    echo "job: ended $(<status)"
  elif [[ -s pid ]]; then
    echo "job: lost"
  fi
}

stop() {
  is_running || return 0
  touch stopped
  kill -TERM -- "-$(<pid)"
  tail --pid="$(<pid)" -s 0.2 -f /dev/null # until it has saved
}

each() {
  local numbers=$1 number worst=0
  shift
  trap 'exit 143' TERM # after the run, which has the signal too and saves
  for number in ${numbers//,/ }; do
    "$@" "--config.only=$number" || worst=$?
  done
  return "$worst"
}

verb=$1
shift
if [[ $verb != install ]]; then
  mkdir -p "$folder"
  cd "$folder"
fi
case $verb in
  install | start | work | job | stop | each) "$verb" "$@" ;;
  follow) exec tail --pid="$(<pid)" -s 0.2 -n "$1" -f log ;;
esac
