"""A stand-in for gcloud whose VMs are folders; it writes down how it was called.

Commands for a VM do run, with the VM's folder as their home; only its Python is a stand-in, too.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

_UV = """#!/bin/sh
# `uv venv FOLDER` makes the VM's python; installing is only written down.
printf '%s\\n' "$*" >>"$CLOUD/installed"
for last; do :; done
if [ "$1" = venv ]; then mkdir -p "$last/bin" && cp "$CLOUD/python" "$last/bin/python"; fi
"""
_PYTHON = """#!{python} -IS
import json, os, pathlib, signal, sys, time
cloud = pathlib.Path(os.environ["CLOUD"])
def save(*_):
    print("saved", flush=True)
    sys.exit(0)  # as dermjax does
signal.signal(signal.SIGTERM, save)
vm = pathlib.Path.home().name
with (cloud / "ran").open("a") as file:
    file.write(json.dumps([vm, sys.argv[1:], time.time()]) + "\\n")
print("trains", flush=True)
def event_is_planned():
    plan = cloud / "plan"
    return plan.exists() and {{"preempt", "reboot", "hang_up"}} & set(json.loads(plan.read_text()))
while (cloud / "busy").exists() or event_is_planned():
    time.sleep(0.02)
lost = cloud / "lost"
if lost.exists():  # as a process whose others are gone
    lost.unlink()
    sys.exit(75)
fails = cloud / "fails"
if fails.exists() and fails.read_text() in sys.argv:
    sys.exit(7)
with (cloud / "ended").open("a") as file:
    file.write(json.dumps([vm, sys.argv[1:], time.time()]) + "\\n")
"""


class Cloud:
    """What a test sees of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        self._write("bin/gcloud", f'#!/bin/sh\nexec {sys.executable} -IS {__file__} "$@"\n')
        self._write("bin/python3", "#!/bin/sh\n")  # a VM's own, for pip
        self._write("python", _PYTHON.format(python=sys.executable))
        self._write("uv", _UV)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def plan(self, **plan) -> None:
        """`states` of a queued resource, one per look; `fail`, `preempt`, `reboot`, `hang_up`: once
        a creation fails, or a log that is followed ends so; `denied`: gcloud has no access."""
        (self.folder / "plan").write_text(json.dumps(plan))

    def _lines(self, name: str) -> list:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every gcloud."""
        return self._lines("calls")

    @property
    def steps(self) -> list[str]:
        """The calls in short, without the looks at the state."""
        return [step for step in map(_step, self.calls) if step not in ("describe", "job")]

    @property
    def ran(self) -> list:
        """[VM, arguments of its python, time] of every start."""
        return self._lines("ran")

    @property
    def ended(self) -> list:
        """The same at every end."""
        return self._lines("ended")

    @property
    def vms(self) -> list[str]:
        """Those that are up."""
        return sorted(path.name for path in self.folder.glob("vm/*"))

    def busy(self, is_busy: bool) -> None:
        """Whether commands go on and on."""
        busy = self.folder / "busy"
        busy.touch() if is_busy else busy.unlink()


def _step(call: list[str]) -> str:
    """`create`, `scp`, ... and of ssh what the worker does."""
    if call[4] != "ssh":
        return call[4]
    (command,) = [word for word in call if word.startswith("--command=")]
    return command.rpartition("tpu_worker.sh ")[2].split()[0] if "||" not in command else "job"


def _happened(plan: dict, cloud: pathlib.Path, event: str) -> None:
    """It is not planned any more."""
    del plan[event]
    temporary = cloud / "plan.tmp"
    temporary.write_text(json.dumps(plan))
    temporary.replace(cloud / "plan")


def _gcloud(arguments: list[str], cloud: pathlib.Path) -> int:
    with (cloud / "calls").open("a") as file:
        file.write(json.dumps(["gcloud", *arguments]) + "\n")
    plan = json.loads((cloud / "plan").read_text()) if (cloud / "plan").exists() else {}
    if plan.get("denied"):
        print("ERROR: PERMISSION_DENIED: no access", file=sys.stderr)
        return 1
    kind, verb, name, *options = arguments[2:]
    vm = cloud / "vm" / name
    if verb == "create":
        if "fail" in plan:
            _happened(plan, cloud, "fail")
            print("ERROR: RESOURCE_EXHAUSTED: no quota", file=sys.stderr)
            return 1
        (vm / ".local/bin").mkdir(parents=True)
        shutil.copy(cloud / "uv", vm / ".local/bin/uv")
        states = plan.get("states", ["ACTIVE"]) if kind == "queued-resources" else ["READY"]
        (vm / "states").write_text(json.dumps(states))
    elif verb == "describe":
        try:
            states = json.loads((vm / "states").read_text())
            (vm / "states").write_text(json.dumps(states[1:] or states))
        except FileNotFoundError:
            print("ERROR: NOT_FOUND: it does not exist", file=sys.stderr)
            return 1
        print("READY" if kind == "tpu-vm" and states[0] == "ACTIVE" else states[0])
    elif verb == "delete":
        gone = cloud / f"gone-{time.time_ns()}"
        vm.rename(gone)  # at once: somebody may be looking
        shutil.rmtree(gone)
    elif verb == "scp":
        return _copy([word for word in [name, *options] if word[:2] != "--"], cloud)
    elif verb == "ssh":
        return _ssh(vm, options, plan, cloud)
    return 0


def _copy(paths: list[str], cloud: pathlib.Path) -> int:
    """scp, either way."""
    *sources, target = [
        cloud / "vm" / path.replace(":", "/", 1) if ":" in path else pathlib.Path(path)
        for path in paths
    ]
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target / source.name)
        else:
            shutil.copy(source, target)
    return 0


def _wait(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _ssh(vm: pathlib.Path, options: list[str], plan: dict, cloud: pathlib.Path) -> int:
    (command,) = [word.removeprefix("--command=") for word in options if "--command=" in word]
    event = next((e for e in ("preempt", "reboot", "hang_up") if e in plan), None)
    if " follow " in command and event:
        run = vm / "dermjax-run"
        _wait(lambda: "trains" in (run / "log").read_text())
        if event != "hang_up":
            os.killpg(int((run / "pid").read_text()), signal.SIGTERM)
            _wait((run / "status").exists)
        if event == "preempt":
            (vm / "states").write_text('["SUSPENDING", "SUSPENDED"]')
        _happened(plan, cloud, event)
        return 255
    return subprocess.run(
        ["bash", "-c", command], cwd=vm, env={**os.environ, "HOME": vm}
    ).returncode


if __name__ == "__main__":
    sys.exit(_gcloud(sys.argv[1:], pathlib.Path(os.environ["CLOUD"])))
