"""The scores on the page: their titles, and what each is with this call's numbers and the authors'.

InputIBA's authors' numbers are those of their public code (Zhang et al. 2021).
"""

from dermjax.report.numbers import number
from dermjax.saliency import perturbation
from dermjax.saliency.perturbed_predictions import changes
from dermjax.saliency.settings import ScoreSettings

# Title, and whether more is better, by the name of a score.
SCORES = {
    "insertion": ("insertion AUC ↑", True),
    "deletion": ("deletion AUC ↓", False),
    "sensitivity_n": ("sensitivity-n ↑", True),
    "effective_heat_ratio": ("effective heat ratio ↑", True),
    "heat_share": ("heat in the lesion ↑", True),
    "lesion_share": ("the lesion's area", None),
    "spearman": ("Spearman", None),
    "ssim": ("SSIM", None),
}
# Between which all values of a score lie, by its name; their intervals end there.
BOUNDS = {name: (0, 1) for name in SCORES} | {
    name: (-1, 1) for name in ("sensitivity_n", "spearman", "ssim")
}
_AUTHORS_LEAST = 0.6  # probability of the explained class, of an image that counts
TOO_FEW = (
    "These are too few for means, so none are given: two patients are the least. Every image has "
    "its own scores in images.csv; --config.score.least_probability=0 averages those of all."
)
_AUTHORS_STEP, _AUTHORS_BLUR, _AUTHORS_MASKS = 10, (15, 29), 100
_AUTHORS_SIZES = (1, 31_622, 42)  # least, most, and how many different ones


def definitions(settings: ScoreSettings, size: int) -> dict[str, str]:
    """What the page says of each score.

    Args:
      settings: of the command's scores.
      size: of the network's images, px.
    """
    counts, _, sizes = changes(settings, size)
    return {
        "insertion AUC": (
            "Probability of the explained class while pixels are put into a blurred image, the "
            "hottest first: mean over the way. Higher is better (Petsiuk et al. 2018). "
            f"{_steps(counts)} {_blur(settings, size)} Pixels of equal heat go in random order."
        ),
        "deletion AUC": (
            "The same while pixels are replaced by the mean colour, the hottest first. Lower is "
            "better."
        ),
        "sensitivity-n": (
            "Correlation over random sets of n pixels between their heat and what the logit loses "
            "without them, mean over n; each n alone is in sensitivity_n.csv. Higher is better "
            "(Ancona et al. 2018); a map that is the same everywhere has 0. "
            f"{_sizes(sizes, settings.masks)}"
        ),
        "effective heat ratio": (
            "Share of the heat above a threshold that lies in the lesion, per pixel above it; mean "
            "over thresholds. Not of lesions that fill over a third of the image (Zhang et al. "
            "2021, as here). An empty map has 0."
        ),
        "heat in the lesion": (
            "Share of the map's heat inside the lesion's outline; to be read beside the lesion's "
            "share of the area, which a map that looks nowhere in particular has. An empty map has "
            "no such share."
        ),
        "Spearman, SSIM": (
            "Agreement with the maps shown: rank correlation of the pixels, and structural "
            "similarity."
        ),
    }


def _steps(counts) -> str:
    step, number = int(counts[1]), len(counts) - 1
    said = f"Here in {number:,} steps of {step:,} px"
    if step == _AUTHORS_STEP:
        return f"{said}, as InputIBA's authors do."
    return f"{said}; InputIBA's authors take {_AUTHORS_STEP} px a step."


def _blur(settings: ScoreSettings, size: int) -> str:
    sigma, wide, kernel = settings.blur * size / 512, "8 sigma wide", 0
    if settings.blur_kernel:
        kernel = 2 * perturbation.blur_radius(size, settings.blur_kernel) + 1
        wide = f"in a kernel of {kernel} px"
    said = f"The blur is a Gaussian of {sigma:.3g} px, {wide}"
    if (sigma, kernel) == _AUTHORS_BLUR:
        return f"{said}, as theirs."
    theirs, cut = _AUTHORS_BLUR
    return f"{said}; theirs is of {theirs} px in a kernel of {cut} px, whatever the image's size."


def _sizes(sizes, masks: int) -> str:
    least, most, number = _AUTHORS_SIZES
    many = f"{', '.join(f'{n:,}' for n in sizes[:-1])} and {sizes[-1]:,}"
    if len(sizes) > 12:
        many = f"{len(sizes)} sizes from {sizes[0]:,} to {sizes[-1]:,}"
    elif len(sizes) == 1:
        many = f"{sizes[0]:,}"
    said = f"Here n is {many} px, with {masks} sets each"
    if (sizes[0], sizes[-1], len(sizes), masks) == (*_AUTHORS_SIZES, _AUTHORS_MASKS):
        return f"{said}, as InputIBA's authors have it."
    return (
        f"{said}; InputIBA's authors take {number} sizes from {least} to {most:,} px with "
        f"{_AUTHORS_MASKS} sets each and draw the curve over n, without its mean."
    )


def counting(least: float, counted: int, every: int) -> str:
    """Over which images scores are averaged, in a sentence.

    Args:
      least: probability of the explained class, of an image that counts.
      counted: images that have it.
      every: images.
    """
    if not least:
        which = "The one image counts" if every == 1 else f"All {every} images count"
        return (
            f"{which}, whatever probability the network gives the explained "
            f"class; InputIBA's authors count those with at least {number(_AUTHORS_LEAST)}."
        )
    theirs = "as InputIBA's authors have it"
    if least != _AUTHORS_LEAST:
        theirs = f"InputIBA's authors have {number(_AUTHORS_LEAST)}"
    others, which = every - counted, f"{counted} of {every} image{'' if every == 1 else 's'}"
    verb, those = ("counts", "the one") if counted == 1 else ("count", "those")
    return (
        f"{which} {verb}: {those} to whose explained class the network "
        f"gives a probability of at least {number(least)} ({theirs}); {others or 'none'} "
        f"{'are' if others > 1 else 'is'} left out."
    )
