#!/usr/bin/env bash
# dermjax on Cloud TPU VMs, by gcloud.
#
#   launch/tpu_vm.sh run [OPTIONS] python -m dermjax.main --config=... --workdir=gs://bucket/run
#   launch/tpu_vm.sh study --vms=8 [OPTIONS] ARGUMENTS gs://bucket/study [FLAGS]
#   launch/tpu_vm.sh create|install|follow|stop|status|delete [OPTIONS]
#   launch/tpu_vm.sh start [OPTIONS] COMMAND
#   launch/tpu_vm.sh fetch [OPTIONS] FOLDER [TO]
#
# run does all in order: creates the VM, installs this checkout on it, starts the command, follows
# its log and, when the command has ended, deletes the VM. On a slice of several workers all start
# it, and train together. A VM that is preempted is created anew, a worker that is lost started
# again, and the same command continues from its checkpoints. It does not need the connection:
# after Ctrl-C or a lost laptop, the same `run` finds it again. What is still up is said at the end.
# study shares out the runs of configs/study.py by number, on VMs named NAME-1, NAME-2, ...
#
# OPTIONS, or environment variables:
#   --name, --zone, --project    TPU_NAME, TPU_ZONE, PROJECT
#   --type=v4-8, --version       TPU_TYPE, TPU_VERSION: of the runtime, as tpu-ubuntu2204-base
#   --spot                       TPU_SPOT=1: cheaper, and can be preempted
#   --on-demand                  TPU_ON_DEMAND=1: created at once, not as a queued resource
#   --data=gs://bucket/clinic    TPU_DATA: copied to every worker, for data=clinic/photos.csv
#   --pip=SPEC                   TPU_PIP: instead of this checkout, as 'dermjax[tpu] @ URL'
#   --vms=8                      TPU_VMS: of a study
#   --restarts=20 --poll=30      TPU_RESTARTS; TPU_POLL: seconds between two looks
#   --keep                       TPU_KEEP=1: run and study delete no VM
#   --dry-run                    TPU_DRY_RUN=1: prints every command and runs none
#
# Which --type: by TPU's own compiler (tests/benchmarks/tpu.py; nothing was measured) scale=paper
# fits four chips of v5e (v5litepod-4) with 32 images on each: 9.6 of 16 GB in fine-tuning, which
# takes half an hour, 6.3 GB in MoCo-v2, 13 hours. Four chips of v6e (v6e-4) take half of the time,
# of v4 (v4-8) four fifths. No accumulate_steps are needed. The first step waits ten minutes for
# the compiler; a run that is started again finds the program kept.
set -euo pipefail
export TPU_NAME=${TPU_NAME:-} TPU_ZONE=${TPU_ZONE:-} TPU_TYPE=${TPU_TYPE:-} PROJECT=${PROJECT:-} \
  TPU_VERSION=${TPU_VERSION:-} TPU_SPOT=${TPU_SPOT:-} TPU_ON_DEMAND=${TPU_ON_DEMAND:-} \
  TPU_DATA=${TPU_DATA:-} TPU_PIP=${TPU_PIP:-} TPU_KEEP=${TPU_KEEP:-} TPU_VMS=${TPU_VMS:-1} \
  TPU_RESTARTS=${TPU_RESTARTS:-20} TPU_POLL=${TPU_POLL:-30} TPU_DRY_RUN=${TPU_DRY_RUN:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
up=''          # whether there is a VM, as far as we know
started=''     # whether our command has been started on it
child=''       # the process that we wait for
pretended=none # what --dry-run supposes: none, made or ended

say() { printf 'tpu_vm.sh: %s\n' "$*" >&2; }
refuse() { say "$@" && exit 2; }

quoted() { # as a shell reads it back unchanged
  local text
  text=$(printf '%q ' "$@")
  printf '%s\n' "${text% }"
}

# --- gcloud

command_of() { command=(gcloud compute tpus "$@" "--zone=$TPU_ZONE" "--project=$PROJECT" --quiet); }

call() { local command && command_of "$@" && attend "${command[@]}"; }

# In the background, because only `wait` lets bash answer a signal at once; with a process group of
# its own (set -m), because gcloud is a shell script around Python around ssh.
attend() {
  local status=0
  if [[ $TPU_DRY_RUN ]]; then
    quoted "$@" >&3
    return
  fi
  set -m
  "$@" </dev/null &
  set +m
  child=$!
  wait "$child" || status=$?
  child=''
  return "$status"
}

pause() { [[ $TPU_DRY_RUN ]] || attend sleep "$TPU_POLL"; }

ssh_to() { # WORKER COMMAND; a dead connection is given up after a minute and a half
  call tpu-vm ssh "$TPU_NAME" "--worker=$1" --ssh-flag=-oServerAliveInterval=30 "--command=$2"
}
on_workers() { ssh_to all "bash tpu_worker.sh $(quoted "$@")"; }

# KIND FIELD SUPPOSED: a state in gcloud's words; UNKNOWN where gcloud could not tell.
describe() {
  local command told
  command_of "$1" describe "$TPU_NAME" "--format=value($2)"
  if [[ $TPU_DRY_RUN ]]; then
    attend "${command[@]}"
    if [[ $pretended == none ]]; then echo NOT_FOUND; else echo "$3"; fi
  elif told=$("${command[@]}" 2>&1 </dev/null); then
    grep -xE '[A-Z_]+' <<<"$told" | tail -n 1 || echo UNKNOWN
  elif [[ $told == *NOT_FOUND* ]]; then
    echo NOT_FOUND
  else
    say "$told" && echo UNKNOWN
  fi
}

# The queued resource's and, once that is active, the VM's.
state() {
  local found=ACTIVE
  [[ $TPU_ON_DEMAND ]] || found=$(describe queued-resources state.state ACTIVE)
  [[ $found != ACTIVE ]] || found=$(describe tpu-vm state READY)
  echo "$found"
}

# --- The steps

create() {
  # Up before it is: a creation that fails or is interrupted may have made something.
  up=1 started='' pretended=made
  local flags=("--accelerator-type=$TPU_TYPE" ${TPU_SPOT:+"--spot"})
  if [[ $TPU_ON_DEMAND ]]; then
    call tpu-vm create "$TPU_NAME" "--version=$TPU_VERSION" "${flags[@]}"
  else
    flags+=("--node-id=$TPU_NAME" "--runtime-version=$TPU_VERSION")
    call queued-resources create "$TPU_NAME" "${flags[@]}"
  fi
}

install() {
  local files=("$root/launch/tpu_worker.sh") spec=$TPU_PIP archive=$root/dist/$TPU_NAME.tgz
  if [[ ! $spec ]]; then
    # Named one by one: photographs and runs that lie in the checkout stay here.
    [[ $TPU_DRY_RUN ]] || mkdir -p "$root/dist"
    attend tar -C "$root" --exclude=__pycache__ -czf "$archive" \
      LICENSE README.md pyproject.toml setup.py configs dermjax
    files+=("$archive") spec=$TPU_NAME.tgz
  fi
  call tpu-vm scp "${files[@]}" "$TPU_NAME:./" --worker=all
  on_workers install "$spec" ${TPU_DATA:+"$TPU_DATA"}
}

start() { on_workers start "$@"; }
stop() { on_workers stop; }
follow() { ssh_to 0 "bash tpu_worker.sh follow ${1:-+1}"; } # all workers say the same
fetch() { call tpu-vm scp --recurse "$TPU_NAME:dermjax-run/$1" "${2:-.}" --worker=0; }

deletion() {
  command_of queued-resources delete "$TPU_NAME" --force
  [[ ! $TPU_ON_DEMAND ]] || command_of tpu-vm delete "$TPU_NAME"
}

delete() {
  local command
  deletion && attend "${command[@]}" || return
  up=''
}

status() {
  local found
  found=$(state)
  echo "$TPU_NAME: $found"
  [[ $found != NOT_FOUND ]] || up=''
  [[ $found != READY ]] || echo "command: $(job)"
}

# --- All in order

# The command's: none, running, lost, `ended STATUS`, or unknown where nobody answers.
job() {
  local told
  if ! told=$(ssh_to all '[ ! -e tpu_worker.sh ] || bash tpu_worker.sh job'); then
    echo unknown
  elif [[ $TPU_DRY_RUN ]]; then
    if [[ $pretended == ended ]]; then echo ended 0; else echo none; fi
  else
    case $told in
      *'job: running'*) echo running ;;
      *'job: lost'*) echo lost ;;
      *'job: ended'*) sed -n 's/^job: //p' <<<"$told" | sort -k 2 -n | tail -n 1 ;; # the worst
      *) echo none ;;
    esac
  fi
}

again() {
  ((TPU_RESTARTS > 0)) || refuse "$TPU_NAME: $1; no restarts are left, take more: --restarts=100"
  TPU_RESTARTS=$((TPU_RESTARTS - 1))
  say "$TPU_NAME: $1; once more"
  pause
}

# Returns when the VM is there, created anew where it was preempted or has failed.
bring_up() {
  local found lost=''
  while true; do
    found=$(state)
    [[ $found == NOT_FOUND || $found == UNKNOWN ]] || up=1
    case $found in
      READY) return ;;
      FAILED | SUSPENDED | PREEMPTED | TERMINATED | STOPPED)
        again "$found"
        if delete; then lost=1; fi
        ;;
      NOT_FOUND)
        if [[ $lost ]]; then
          if create; then lost=''; else again "not created"; fi # no capacity, for example
        elif [[ $up ]]; then
          up=''
          refuse "$TPU_NAME was deleted from elsewhere; the same command begins anew"
        else
          create
        fi
        ;;
      UNKNOWN)
        [[ $up ]] || refuse "gcloud does not tell the state of $TPU_NAME; mend what it says above"
        pause
        ;;
      *) pause ;; # queued, or on its way up or down
    esac
  done
}

has_several() { [[ ! $TPU_TYPE =~ -[1-8]$ ]]; } # workers: up to 8 there is one

run() {
  local word folder='' found lines
  for word in "$@"; do [[ $word != --workdir=* ]] || folder=${word#*=}; done
  [[ $folder ]] || refuse "--workdir is missing; add --workdir=gs://BUCKET/RUN, which outlives VMs"
  [[ $folder == gs://* ]] || ! has_several ||
    refuse "--workdir = $folder must be gs://..., which all workers of $TPU_TYPE share"
  [[ $folder == gs://* ]] || say "warning: $folder is lost with a preempted VM; gs://... is not"
  while true; do
    bring_up
    found=$(job)
    case $found in
      # A worker that is gone ends the others: dermjax by 75, JAX itself by 134.
      ended\ 75 | ended\ 134) [[ ! $started ]] || again "a worker was lost (status ${found#ended })" ;;
      ended*) [[ ! $started ]] || break ;; # otherwise it was an earlier command
      lost) [[ ! $started ]] || again "the command is gone, the VM is not" ;;
      unknown) # a new VM takes a while to answer; a command at work needs no connection
        if [[ $started ]]; then pause; else again "no answer by ssh"; fi
        continue
        ;;
    esac
    lines=+1
    if [[ $found == running && $started ]]; then
      lines=10
    else
      [[ $found == running ]] || install
      start "$@" # finds the same command at work, and refuses another
    fi
    started=1
    # The end of a log is no news: of the command, of the VM, or only of the connection.
    follow "$lines" || pause
    [[ ! $TPU_DRY_RUN ]] || pretended=ended
  done
  [[ $folder == gs://* ]] || fetch "$folder"
  [[ $TPU_KEEP ]] || delete
  [[ $TPU_DRY_RUN ]] || say "$TPU_NAME: the command has ended with status ${found#ended }"
  return "${found#ended }"
}

# --- The command line

# On every exit: no machine is left running in silence.
last_words() {
  local status=$? command told
  trap '' HUP INT TERM
  [[ ! $child ]] || kill -TERM -- "-$child" || true
  [[ ! $TPU_DRY_RUN && $up ]] || exit "$status"
  deletion
  told="$TPU_NAME is up in $TPU_ZONE, or on its way; this deletes it: $(quoted "${command[@]}")"
  say "$told"
  [[ ! ${TPU_WORDS:-} ]] || echo "$told" >"$TPU_WORDS/$TPU_NAME" # for the study's own
  exit "$status"
}

usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "${BASH_SOURCE[0]}"; }

option() {
  local name=${1%%=*}
  name=${name#--} && name=${name//-/_} && name=TPU_${name^^}
  case $1 in
    --project=*) PROJECT=${1#*=} ;;
    --name=* | --zone=* | --type=* | --version=*) printf -v "$name" %s "${1#*=}" ;;
    --data=* | --pip=* | --vms=* | --restarts=* | --poll=*) printf -v "$name" %s "${1#*=}" ;;
    --spot | --on-demand | --keep | --dry-run) printf -v "$name" 1 ;;
    *) refuse "$1 is not understood; see --help" ;;
  esac
}

need() {
  local variable flag
  for variable in "$@"; do
    flag=${variable#TPU_}
    [[ ${!variable} ]] || refuse "--${flag,,} is missing; add --${flag,,}=... or set $variable"
  done
}

main() {
  local verb=${1:-}
  [[ $verb && " $verb ${2:-} " != *\ --help\ * ]] || { usage && exit; }
  shift
  while [[ ${1:-} == --* ]]; do
    option "$1" && shift
  done
  need TPU_NAME TPU_ZONE PROJECT
  case $verb in
    create | run | study)
      need TPU_TYPE TPU_VERSION
      # A study is one process after the other, and no process of a slice with several workers can
      # use its chips without those on the others.
      [[ $verb != study ]] || ! has_several ||
        refuse "--type = $TPU_TYPE must be at most 8, which is one worker, for a study; take v4-8" \
          "or v5litepod-8, or run with configs/ss.py, whose processes train together"
      ;;
    install | start | follow | stop | fetch | status | delete) up=1 ;;
    *) refuse "$verb is not understood; see --help" ;;
  esac
  [[ $# -gt 0 || ! $verb =~ ^(run|study|start|fetch)$ ]] || refuse "$verb of what? See --help"
  [[ $verb != study ]] || exec "$BASH" "$root/launch/tpu_study.sh" "$@"
  exec 3>&1
  trap last_words EXIT
  trap 'exit 129' HUP && trap 'exit 130' INT && trap 'exit 143' TERM
  [[ $verb != create ]] || verb=bring_up
  "$verb" "$@"
}

main "$@"
