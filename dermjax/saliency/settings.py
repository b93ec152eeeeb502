"""Settings of saliency maps, their scores and checks; `configs/saliency.py` says what each is."""

import dataclasses
from typing import ClassVar

from dermjax.saliency.input_iba import InputIBASettings
from dermjax.settings.section import Section
from dermjax.suggestions import did_you_mean

METHODS = ("input_iba", "input_iba_gan", "iba", "grad_cam", "integrated_gradients", "random")
_PRIORS = ("iba", "gan")
_CHOOSE = ("random", "correct", "wrong")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputIBAFields(Section):
    """Numbers of InputIBA; `dermjax.saliency.InputIBASettings` has their units and bounds."""

    SECTION: ClassVar[str] = "input_iba"

    statistics_images: int
    beta_feature: float
    steps_feature: int
    beta_input: float
    steps_input: int
    draws: int
    learning_rate: float
    sigma: float
    gan_epochs: int
    gan_samples: int
    gan_groups: int
    gan_batch_size: int
    gan_generator_every: int
    gan_mask: str

    def __post_init__(self):
        self.check_least(2, "statistics_images")

    def of_layer(self, layer: str, prior: str) -> InputIBASettings:
        """What the method takes.

        Raises:
          ValueError: a number is out of bounds.
        """
        fields = self.to_dict()
        del fields["statistics_images"]
        try:
            return InputIBASettings(layer=layer, prior=prior, **fields)
        except ValueError as error:
            raise ValueError(f"config.input_iba.{error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegratedGradientsSettings(Section):
    """The straight way from grey to the image."""

    SECTION: ClassVar[str] = "integrated_gradients"

    steps: int

    def __post_init__(self):
        self.check_least(1, "steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreSettings(Section):
    """Scores of maps by the network's answers to changed images."""

    SECTION: ClassVar[str] = "score"

    least_probability: float  # chooses among scores; none depends on it
    steps: int
    pixels_per_step: int
    blur: float  # px at 512 px
    blur_kernel: int
    sizes: int
    least_n: float
    most_n: float
    masks: int

    def __post_init__(self):
        self.check_least(0, "pixels_per_step", "blur_kernel")
        self.check_least(1, "sizes")
        self.check_least(2, "steps")
        self.check_least(3, "masks")
        self.check("blur", self.blur > 0, "above 0 px; 15 is usual")
        self.check(
            "least_probability",
            0 <= self.least_probability <= 1,
            "in [0, 1]; 0 averages the scores of all images",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SanitySettings(Section):
    """The check whether maps depend on the weights."""

    SECTION: ClassVar[str] = "sanity"

    images: int  # 0: no check
    layers: int

    def __post_init__(self):
        self.check_least(0, "images")
        self.check_least(2, "layers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaliencySettings(Section):
    """Which maps, of which images, and what says how far to believe them."""

    task: str
    run: str  # folder of the run
    method: str  # of METHODS
    prior: str  # of input_iba
    compare: tuple[str, ...]
    scores: bool
    images: str  # a pattern of files; '': test images
    per_class: int  # 0: all
    choose: str
    target: str
    layer: str  # '': the network's usual one
    repeats: int
    images_per_batch: int  # 0: as many as the memory should hold
    seed: int
    input_iba: InputIBAFields
    integrated_gradients: IntegratedGradientsSettings
    score: ScoreSettings
    sanity: SanitySettings

    def __post_init__(self):
        if not self.run:
            raise ValueError("which run? name its folder, as in configs/saliency.py:run=runs/mine")
        for field, names in (("method", (self.method,)), ("compare", self.compare)):
            for name in names:
                if name not in METHODS:
                    raise ValueError(
                        f"config.{field} = {name!r} is no method; there are {', '.join(METHODS)}"
                        f"{did_you_mean(name, METHODS)}"
                    )
        self.check_choice("prior", _PRIORS)
        self.check_choice("choose", _CHOOSE)
        several = "at least 1, or 0 for as many as the memory should hold"
        self.check("images_per_batch", self.images_per_batch >= 0, several)
        self.check_least(0, "per_class", "seed")
        self.check_least(1, "repeats")
        self.input_iba.of_layer(self.layer, self.prior)

    @property
    def methods(self) -> tuple[str, ...]:
        """The method that is shown, and those that it is compared with."""
        wanted = dict.fromkeys((self.method, *(self.compare if self.scores else ())))
        same = [name for name in wanted if name in ("input_iba", "input_iba_gan")]
        if self.prior == "gan" and len(same) == 2:  # two names of one method, minutes an image
            del wanted[same[1]]
        return tuple(wanted)

    def prior_of(self, method: str) -> str:
        """The prior of one of InputIBA's two names."""
        return "gan" if method == "input_iba_gan" else self.prior
