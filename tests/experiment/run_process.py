"""A tiny run as a process of its own, that is watched and disturbed from outside."""

import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

from tests.experiment.clinic import TINY_FIELDS, TINY_FINETUNE_FIELDS

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STEPS, REPORT, SAVE = 12, 2, 4
FIELDS = {
    **TINY_FIELDS,
    **TINY_FINETUNE_FIELDS,
    "data.workers": 2,
    "data.synthetic.lesions": 150,
    "data.synthetic.width": 160,
    "data.synthetic.height": 120,
    "pretrain.steps": STEPS,
    "pretrain.report_every": REPORT,
    "pretrain.save_every": SAVE,
    "pretrain.monitor.every": SAVE,
    "finetune.steps": STEPS,
    "finetune.report_every": REPORT,
    "finetune.evaluate_every": SAVE,
}
PHASES = (
    *("starting", "drawing", "checking", "preparing", "auditing"),
    *("pretraining: restoring", "pretraining", "pretraining: monitor", "pretraining: saving"),
    *("picturing", "fine-tuning", "fine-tuning: validation", "fine-tuning: saving"),
    *("evaluating", "writing results"),
)
_MARK = "DERMJAX_DISTURBED"  # in the environment of all processes of one start
_PREPARED = ("synthetic", "scans", "prepared")  # folders of the cache


class Run:
    """One run in `room / name`, with the cache of the room; started once or many times."""

    def __init__(self, room: pathlib.Path, name: str, *, processes: int = 1):
        """Args:
        processes: that train as one, by launch/local.sh.
        """
        self.workdir, self.cache = room / name / "run", room / "cache"
        self.processes, self._mark = processes, ""
        self.process: subprocess.Popen | None = None
        self.said = ""  # by the newest start, stdout and stderr
        self._began, self._listener = 0.0, None

    def start(self) -> None:
        """The same command every time."""
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "DERMJAX_CACHE": str(self.cache),
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = [
            *(sys.executable, "-m", "dermjax.main", f"--workdir={self.workdir}"),
            "--config=configs/ss.py:alpha=0.5,scale=demo",
            *(f"--config.{name}={value}" for name, value in FIELDS.items()),
        ]
        if self.processes > 1:
            script = str(REPOSITORY / "launch" / "local.sh")
            command = ["bash", script, str(self.processes), *command, "--config.patience=20"]
        self.said, self._began = "", time.time()
        self._mark = f"{_MARK}={self.workdir}-{self._began}"  # names all that belongs to it
        environment[_MARK] = self._mark.partition("=")[2]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is for us alone
        )
        self._listener = threading.Thread(target=self._listen, args=[self.process.stdout])
        self._listener.start()

    def _listen(self, pipe) -> None:
        for line in pipe:
            self.said += line

    def wait(self, seconds: float = 600) -> int:
        """Its exit status; -N where signal N ended it."""
        status = self.process.wait(timeout=seconds)
        self._listener.join(timeout=20)  # a worker that lives on would hold the pipe
        return status

    def running(self) -> bool:
        return self.process.poll() is None

    def members(self) -> list[int]:
        """The processes of the newest start that are alive: itself and its workers."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                environment = (entry / "environ").read_bytes().split(b"\0")
                if self._mark.encode() in environment and state not in "ZX":
                    found.append(int(entry.name))
        return found

    def trainers(self) -> list[int]:
        """Those that train, without their workers; of one process it is that."""
        if self.processes == 1:
            return [self.process.pid]
        own = f"--workdir={self.workdir}"
        return [n for n in self.members() if (words := _command(n))[1:2] == ["-m"] and own in words]

    def signal(self, number: int, which: signal.Signals) -> None:
        """To one of its processes, if that is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, which)

    def workers(self) -> list[int]:
        """Those that prepare photographs, not the tracker that multiprocessing has beside them."""
        return [n for n in self.members() if any("spawn_main" in word for word in _command(n))]

    def orphans(self, seconds: float = 15) -> list[int]:
        """What still lives so long after the end; it is ended."""
        deadline = time.monotonic() + seconds
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = self.members()
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return left

    def phase(self) -> str:
        """Where the newest start is, by its words and its files."""
        if "weights:" not in self.said:
            return "starting"
        if "checking images" not in self.said:
            return "checking" if any(self.cache.glob("synthetic/*/photos.csv")) else "drawing"
        if "pretrain: " not in self.said:
            return "auditing" if any(self.cache.glob("prepared/*/rows-*[0-9]")) else "preparing"
        pretraining = next(self.workdir.parent.glob("pretrain-*"), self.workdir)
        if not (pretraining / "checkpoints" / "pretrain" / str(STEPS)).exists():
            metrics = pretraining / "metrics.jsonl"
            if not metrics.exists() or metrics.stat().st_mtime < self._began:
                return "pretraining: restoring"
            return self._step("pretraining", "monitor", metrics, pretraining / "checkpoints")
        if not (self.workdir / "pretraining.html").exists():
            return "picturing"
        if not (self.workdir / "checkpoints" / "finetune" / str(STEPS)).exists():
            metrics = self.workdir / "metrics.jsonl"
            return self._step("fine-tuning", "validation", metrics, self.workdir / "checkpoints")
        written = (self.workdir / "predictions.csv").exists()
        return "writing results" if written else "evaluating"

    @staticmethod
    def _step(stage: str, evaluation: str, metrics: pathlib.Path, folder: pathlib.Path) -> str:
        if any(folder.glob("*/*.orbax-checkpoint-tmp*")):
            return f"{stage}: saving"
        steps = re.findall(r'"step": (\d+)', metrics.read_text() if metrics.exists() else "")
        # The evaluation is before the line of its step.
        before = steps and int(steps[-1]) % SAVE and int(steps[-1]) < STEPS
        return f"{stage}: {evaluation}" if before else stage

    def reached(self) -> int:
        """The place in PHASES of what a new start need not do again."""
        kept = self.said
        self.said = "weights: checking images pretrain: "
        if not any(self.cache.glob("prepared/*/rows-*[0-9]")):
            self.said = "weights:"
        place = PHASES.index(self.phase())
        self.said = kept
        return place

    def damage(self, how: str, moments: random.Random) -> str:
        """Cuts or removes something of the newest checkpoint of a stage; says what, '' if nothing.

        Args:
          how: `cut` or `remove` a file, or remove `all`.
        """
        stages = [*self.workdir.parent.glob("pretrain-*/checkpoints/pretrain")]
        stages += [self.workdir / "checkpoints" / "finetune"]
        newest = []
        for stage in stages:
            steps = [int(p.name) for p in stage.glob("*") if p.name.isdigit()]
            newest += [stage / str(max(steps))] if steps else []
        if not newest:
            return ""
        checkpoint = moments.choice(newest)
        if how == "all":
            shutil.rmtree(checkpoint)
            return str(checkpoint)
        path = moments.choice(sorted(p for p in checkpoint.rglob("*") if p.is_file()))
        if how == "remove":
            path.unlink()
        else:
            os.truncate(path, moments.randrange(path.stat().st_size))
        return str(path)

    def only_damaged(self) -> str:
        """The folder that the newest start asked to remove: its only checkpoint is damaged."""
        asked = re.search(r"none of the checkpoints .* in (\S+) can be read", self.said)
        return asked[1] if asked else ""

    def forget(self, *, compiled: bool = False) -> None:
        """The next run draws, checks and prepares its photographs anew; compiles too, if asked."""
        for name in (*_PREPARED, *(["xla"] if compiled else [])):
            shutil.rmtree(self.cache / name, ignore_errors=True)


def _command(number: int) -> list[str]:
    """The words that a process was started with; none of one that is gone."""
    try:
        return pathlib.Path(f"/proc/{number}/cmdline").read_text().split("\0")
    except OSError:
        return []


class Disk:
    """A room on a small disk of its own that can be filled up; elsewhere a bound on files' size."""

    def __init__(self, room: pathlib.Path, megabytes: int = 256):
        room.mkdir(parents=True, exist_ok=True)
        self._room = room
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "dermjax-chaos", str(room)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
            self.own = done.returncode == 0
        except OSError:
            self.own = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.own:
            subprocess.run(["umount", "--lazy", str(self._room)], check=True)

    def fill(self, run: Run, left: int) -> None:
        """From here on there is room for so many bytes; or files of the run end there."""
        if not self.own:
            for number in run.members():
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(number, resource.RLIMIT_FSIZE, (left, left))
            return
        with (self._room / "ballast").open("wb") as file:
            for _ in range(9):  # somebody may take the last of it meanwhile
                state, size = os.statvfs(self._room), file.seek(0, os.SEEK_END)
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), size, state.f_bavail * state.f_frsize)
            file.truncate(max(file.seek(0, os.SEEK_END) - left, 0))

    def empty(self) -> None:
        (self._room / "ballast").unlink(missing_ok=True)
