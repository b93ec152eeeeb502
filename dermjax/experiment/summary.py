"""A finished run in the terminal: one small table."""

from collections.abc import Mapping


def summary(results: Mapping, workdir: str) -> str:
    """Measures by class and overall, and where the files are."""
    if results["task"] == "pretrain":
        return _pretraining(results, workdir)
    width = max(len("macro mean"), *(len(name) for name in results["classes"]))
    n = results["n"]
    lines = [
        f"{results['strategy']}, {results['model']}, alpha {results['alpha']:g}, trial "
        f"{results['trial']}: {n['train_labelled']} of {n['train']} training images labelled, "
        f"selected at step {results['best_step']} on {n['validation']} validation images",
        "",
        *_table(results, results.get("without_pretraining"), width),
        "",
        f"{workdir}: results.json, predictions.csv, splits.csv, metrics.jsonl, checkpoints/"
        + (", pretraining.html" if results["pretraining"] else ""),
    ]
    return "\n".join(lines)


def _table(results: Mapping, control: Mapping | None, width: int) -> list[str]:
    """A line per class, the means and the accuracy; sensitivities without pretraining beside."""
    beside = [""] * (len(results["per_class"]) + 3)
    if control:
        rows = control["per_class"].values()
        shares = [*(row["sensitivity"] for row in rows), control["macro_sensitivity"]]
        cells = "without pretraining", *map(_share, (*shares, control["accuracy"]))
        beside = [f"  {cell:>19}" for cell in cells]
    lines: list[tuple[str, str, str, str]] = [("test set", "precision", "sensitivity", "n")]
    for name, row in results["per_class"].items():
        shares = _share(row["precision"]), _share(row["sensitivity"])
        lines.append((name, *shares, f"{row['n']}"))
    macro = _share(results["macro_precision"]), _share(results["macro_sensitivity"])
    lines.append(("macro mean", *macro, f"{results['n']['test']}"))
    lines.append(("accuracy", "", _share(results["accuracy"]), ""))
    table = [
        f"{name:{width}}  {precision:>9}  {sensitivity:>11}{other}  {count:>5}".rstrip()
        for (name, precision, sensitivity, count), other in zip(lines, beside, strict=True)
    ]
    if control:
        table += ["", "without pretraining: sensitivity of the same fine-tuning on the same labels"]
    return table


def probe_summary(results: Mapping, path: str) -> str:
    """A linear probe's measures."""
    n = results["n"]
    every = " (all trials keep all labels and are the same)" if results["alpha"] == 1 else ""
    lines = [
        f"linear probe of {results['model']} ({results['encoder']}, {results['strategy']}), alpha "
        f"{results['alpha']:g}, trial {results['trial']}{every}: {n['train_labelled']} labelled "
        f"training images, C = {results['c']:g} chosen on {n['validation']} validation images",
        "",
        "            accuracy  macro precision  macro sensitivity      n",
    ]
    for name in ("validation", "test"):
        if name in results:
            row = results[name]
            lines.append(
                f"{name:10} {_share(row['accuracy'])}        {_share(row['macro_precision'])}"
                f"          {_share(row['macro_sensitivity'])}  {n[name]:5d}"
            )
    return "\n".join([*lines, "", path])


def _pretraining(results: Mapping, workdir: str) -> str:
    """What the monitor saw last."""
    look, n = results["monitor"], results["n"]
    lines = [
        f"{results['strategy']}, {results['model']}: pretrained on {n['train']} images, "
        f"{look['step']} steps",
    ]
    if "knn_accuracy" in look:
        lines += [
            "",
            f"{look['knn_queries']:.0f} validation images by {look['knn_bank']:.0f} labelled "
            "training images",
            f"kNN accuracy              {_share(look['knn_accuracy'])}",
            f"kNN macro sensitivity     {_share(look['knn_macro_sensitivity'])}",
            f"nearest image's class     {_share(look['nearest_accuracy'])}",
            f"always the commonest class{_share(look['majority_accuracy'])}",
        ]
    return "\n".join([*lines, "", f"{workdir}: pretraining.html, metrics.jsonl, checkpoints/"])


def _share(value: float | None) -> str:
    return "        -" if value is None else f"{value:9.3f}"
