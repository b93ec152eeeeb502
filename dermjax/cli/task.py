"""From a config to the command that it is of, with typed settings."""

from ml_collections import ConfigDict


def start(config: ConfigDict, workdir: str = "") -> int:
    """Checks every field of a config and does its task; returns the process's exit status.

    Args:
      config: of one of the files in `configs/`.
      workdir: where results go; '' for the task's default.

    Raises:
      ValueError: a user's mistake, in words.
    """
    # A task's imports take seconds, and no other task needs them.
    task = config.get("task")
    if task == "study":
        from dermjax.study import run_study
        from dermjax.study.settings import StudySettings

        return run_study.run(StudySettings.from_config(config), workdir)
    if task == "saliency":
        from dermjax.saliency import explain
        from dermjax.saliency.settings import SaliencySettings

        return explain.run(SaliencySettings.from_config(config), workdir)
    if task == "probe":
        from dermjax.experiment import linear_probe
        from dermjax.experiment.probe_settings import ProbeSettings

        return linear_probe.run(ProbeSettings.from_config(config), workdir)
    from dermjax.experiment import run
    from dermjax.settings import RunSettings

    return run.run(RunSettings.from_config(config), workdir)
