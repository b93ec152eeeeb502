"""Where a run's network looks: maps, Figure 6's sheet, and scores that say whether to believe them.

    python -m dermjax.main --config=configs/saliency.py:run=runs/mine
    python -m dermjax.main --config=configs/saliency.py:run=runs/mine --config.prior=gan
    python -m dermjax.main --config=configs/saliency.py:run=runs/mine \
        --config.images='new/*.jpg' --config.target=psoriasis_vulgaris

Results go into `saliency/` in the folder of the run (or --workdir): `saliency.html`, `sheet.png`
and `sheet.pdf`, `scores.csv`, `sensitivity_n.csv`, `regions.csv`, `images.csv`,
`repeatability.csv`, `sanity.csv`, and a folder per image with each method's map (float `.npy` at
the network's size, 8-bit PNG), overlay and a JSON of target, probabilities, settings, scores and
repeatability. The same command again does what is missing. The sheet is of the last command.

Numbers: the public InputIBA code's configuration for dermatology [authors]; choices of this
project [ours].
"""

from ml_collections import ConfigDict

from dermjax.configs import common

_ARGUMENTS = {
    "run": "",  # folder of a finished run of ss.py, ss_in.py, in.py or fs.py
    "method": "input_iba",  # input_iba | iba | grad_cam | integrated_gradients | random
    "prior": "iba",  # of input_iba: iba (fast) | gan (a GAN per image, as the authors; slow)
}


def get_config(argument: str | None = None) -> ConfigDict:
    """Arguments: run, method, prior (see `_ARGUMENTS`)."""
    config = ConfigDict({"task": "saliency", **common.parse_argument(argument, _ARGUMENTS)})
    # Methods that the scores compare; `input_iba_gan` is input_iba with the other prior; (): none.
    config.compare = ("input_iba", "grad_cam", "integrated_gradients", "random")
    config.scores = True  # insertion, deletion, ...; without them nothing is compared or checked
    # Files as in 'new/*.jpg', whole photographs; '': test images of the run. Of a photograph of the
    # run's data the true class, lesions and redactions are known.
    config.images = ""
    config.per_class = 2  # test images, as in Figure 6; 0: all of them
    config.choose = "random"  # of the test images; or `correct`, `wrong`: among such answers only
    config.target = "predicted"  # class that is explained: predicted | true | a class by its name
    config.layer = ""  # of the bottleneck and Grad-CAM; '': layer3 of ResNets, else the last block
    # Maps by other noise whose mean a map of input_iba or iba is; the time grows with them [ours].
    # 1: as the authors. Two such means agree by Spearman .21, .33, .46, .59 for 1, 2, 4, 8 and by
    # SSIM .10, .18, .28, .40 (Lite0, 64 px): 2 are the fewest that tell it of each map.
    config.repeats = 2
    config.images_per_batch = 0  # 0: as many as the memory should hold
    config.seed = 0  # of the choice of images and of all noise
    config.input_iba = ConfigDict(
        {
            # Training images whose features' mean and deviation the noise has [authors].
            "statistics_images": 1_000,
            "beta_feature": 20.0,  # price of information at the layer [authors]
            "steps_feature": 10,  # of the layer's bottleneck [authors]
            "beta_input": 20.0,  # price of information in the image [authors]
            "steps_input": 60,  # of the image's bottleneck [authors]
            "draws": 10,  # of noise, in each step of both [authors]
            "learning_rate": 1.0,  # of Adam, in both [authors]
            "sigma": 1.0,  # px, of the Gaussian that smooths the image's mask [authors]
            # Of the GAN, when prior=gan.
            "gan_epochs": 20,  # [authors]
            "gan_samples": 200,  # real ones in an epoch [authors]
            "gan_groups": 10,  # of real samples, each with a noise of its own [authors]
            "gan_batch_size": 32,  # [authors]
            "gan_generator_every": 5,  # batches [authors]
            "gan_mask": "capacity",  # as the authors' code has it; `lambda`: as their paper
        }
    )
    config.integrated_gradients = ConfigDict({"steps": 32})  # from grey to the image [ours]
    # All as InputIBA's authors' code has it, at 300 times the forward passes for images of 512 px:
    #   --config.score.pixels_per_step=10 --config.score.blur_kernel=29 --config.score.sizes=45
    #   --config.score.least_n=1 --config.score.most_n=31622.8 --config.score.masks=100
    config.score = ConfigDict(
        {
            # Scores are averaged over images whose explained class has at least this probability
            # [authors]; 0: over all. Every image keeps its own.
            "least_probability": 0.6,
            "steps": 50,  # of insertion and deletion, of equal size [ours]
            "pixels_per_step": 0,  # the size of a step instead of their number; [authors]: 10
            "blur": 15.0,  # px at 512 px, sigma of the image into which insertion goes [authors]
            "blur_kernel": 0,  # px at 512 px, whole width; 0: 8 sigma [ours]; [authors]: 29
            "sizes": 8,  # values of n of sensitivity-n, evenly by logarithm [ours]; [authors]: 45
            "least_n": 0.01,  # below 1 a share of the pixels [ours]; [authors]: 1 px
            "most_n": 0.8,  # [ours]; [authors]: 31,622.8 = 10^4.5 px
            "masks": 32,  # random sets of n pixels [ours]; [authors]: 100
        }
    )
    # With scores: whether the maps depend on the weights, which are drawn anew from the last layer
    # down (of `method`, and Grad-CAM if compared). It costs `images` x (`layers` + 1) more maps and
    # `layers` times the statistics: six minutes of a CPU core (Lite0, 128 px, repeats=2). Of fewer
    # than five patients nothing is said.
    config.sanity = ConfigDict(
        {
            "images": 6,  # of the explained ones, from first to last; 0: no check [ours]
            "layers": 4,  # rows: the last layer, the first, and others evenly between [ours]
        }
    )
    return config
