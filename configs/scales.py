"""The three scales, field by field: `paper`, `small` for one GPU, `demo` for two CPU cores.

Each number names its source: the authors' public pretraining file [authors]; the paper [paper];
the official MoCo code [moco], its CIFAR-10 notebook [notebook] or MoCo v3 [moco-v3]; BYOL's ramp
[byol]; choices of this project, where nothing is public or the data are smaller than the authors',
[ours].
"""

from ml_collections import ConfigDict

DEMO_NETWORK = "efficientnet_mini"  # the demo's network


def paper() -> ConfigDict:
    """EfficientNet-B4 at 512 px, 27,000 iterations of fine-tuning [paper]."""
    config = ConfigDict()
    config.task = "run"  # or `pretrain`: stop after stage 1
    config.strategy = ""
    config.scale = ""
    # Of a run of a study: the option for rare classes in the name of its strategy, such as
    # balanced; fine-tuning has the fields of that name. It changes nothing by itself.
    config.variant = ""
    config.seed = 0  # of everything random except the split; trials add to it in stage 2
    # After a run with pretraining, the same fine-tuning without, on the same labels; its measures
    # stand beside.
    config.control = False
    # Whether this is one of several processes that train together: `auto` asks launch/local.sh,
    # SLURM and cloud TPU VMs; off; or HOST:PORT,COUNT,INDEX (where process 0 listens, how many
    # there are, which one this is).
    config.distributed = "auto"
    # Seconds without a step (but for the first, which is compiled) after which one of several
    # processes takes another one for hung, and ends.
    config.patience = 300.0

    config.model = ConfigDict()
    config.model.name = "efficientnet_b4"  # [paper]
    config.model.drop_rate = 0.4  # dropout before the classifier, stage 2; B4's own [ours]
    config.model.drop_path_rate = 0.2  # stochastic depth, stage 2; B4's own [ours]
    config.model.dtype = "auto"  # of the computation: bfloat16 on GPU and TPU, float32 on CPU

    config.data = ConfigDict()
    # Or gs://BUCKET/..., which is copied into the cache: a folder whole, of a CSV what it names.
    config.data.source = ""
    config.data.layout = "auto"  # of a public data set's folder, when it is not recognised
    config.data.official_split = False  # take the sets that a public data set's folder names
    # Files that are missing, unreadable, or cut short so that a part is grey: refuse; skip: leave
    # them out; use: take those that are cut as they are. Both list them.
    config.data.on_bad_image = "refuse"
    # Bits of 256 by which the perceptual hashes of one photograph may differ when it was saved, cut
    # or brightened anew; such near duplicates stay in one set, and a given split may tear them by
    # leave alone (`allow`); 0: they are not looked for.
    config.data.near_duplicates = 32
    # What a given split may tear apart, by name: "['lesions']" for all, "['patient:p17']" for one;
    # there are patients, lesions, files, near_duplicates, chains. What was found is written into
    # results.json.
    config.data.allow = ()
    # A CSV image,x,y,w,h of what is blacked out; by default the one beside the data: redact.csv in
    # a folder, photos.redact.csv beside photos.csv.
    config.data.redact = ""
    config.data.alpha = 1.0
    config.data.trial = 0
    config.data.split_seed = 0  # of train / validation / test, the same for all trials
    config.data.max_side = 512  # px, longest side of a prepared crop [paper]
    # How prepared crops are stored: `jpeg`, or `pixels`: nothing to decode in training, for
    # machines with little CPU to an accelerator, at max_side^2 * 3 bytes of disk each (512 px:
    # .79 MB, some ten JPEGs). They are the exact crops: results differ a little from `jpeg`'s.
    config.data.records = "jpeg"
    config.data.cache_dir = ""  # prepared images; default $DERMJAX_CACHE or ~/.cache/dermjax
    config.data.workers = 0  # processes that check and prepare images; 0: one per core
    config.data.read_threads = 4  # that decode during training
    config.data.prefetch_batches = 4  # held ready in memory
    config.data.synthetic = _synthetic(lesions=12_000, width=960, height=540)

    config.init = ConfigDict()
    # Where IN, SS-IN and `pretrain.init=imagenet` start: a file (.safetensors, .npz, or a PyTorch
    # checkpoint), or a name of the hub; by default the network's ImageNet weights by timm.
    config.init.weights = ""
    # Of the images the weights were trained on, per channel, pixels in [0, 1], as in
    # "(0.5,0.5,0.5)"; by default as the weights' origin has it, ImageNet's from scratch.
    config.init.mean = ()
    config.init.std = ()

    config.pretrain = _pretrain()
    config.finetune = _finetune()

    config.evaluate = ConfigDict()
    config.evaluate.batch_size = 64  # images, global
    # The test images' penultimate features as 16-bit numbers, for t-SNE: 25 MB of 6,910 by B4.
    config.evaluate.features = True
    return config


def _synthetic(*, lesions: int, width: int, height: int, tail: float = 1.0) -> ConfigDict:
    """The embedded data set, when `data=synthetic`."""
    return ConfigDict(
        {
            "lesions": lesions,  # lesion crops in all
            "width": width,  # px of a photograph
            "height": height,
            "seed": 0,
            # Of the classes: 1, as unequal as the paper's; 0, all of one size.
            "tail": tail,
        }
    )


def _pretrain() -> ConfigDict:
    """Stage 1 of SS and SS-IN: MoCo-v2."""
    stage = ConfigDict()
    stage.directory = ""  # default: next to the workdir, named by all that the result depends on
    # Which of several pretrainings that differ by chance alone: 1, 2, ... take other seeds [ours].
    stage.repeat = 0
    stage.init = "random"  # [authors]; or `imagenet`, from init.weights, as SS-IN has it
    stage.steps = 97_200  # 1,200 epochs of 20,926 images [authors]
    stage.batch_size = 256  # images, global [authors]
    stage.image_size = 380  # px [authors]
    stage.bn_groups = 4  # batch norm groups over the global batch: 4 devices of 64 [authors]
    # Parts of a device's share that are computed one after the other, for less memory. Keys and
    # queue remain those of the whole batch, so that the step is the same to rounding, as long as
    # batch norm groups remain whole: bn_groups must be a multiple of devices x accumulate_steps.
    stage.accumulate_steps = 1  # [ours]
    # Keys [authors]; 0: those of two steps, or of one where the training images are fewer [ours].
    stage.queue_size = 65_536
    stage.dim = 128  # of an embedding [authors]
    stage.hidden_dim = 2048  # of the head [authors]
    # Batch norm behind both layers of the head; without it short trainings leave all embeddings in
    # one cone.
    stage.head_norm = False  # [authors]; True [moco-v3]
    stage.momentum = 0.999  # of the key encoder, at the first step [authors]
    stage.momentum_end = 0.999  # at the last, along half a cosine; constant [authors]
    stage.temperature = 0.2  # [authors]
    stage.symmetric = False  # each view is query once and key once: two losses a step [moco: no]
    stage.batch_negatives = False  # keys of the batch's other images are negatives too [moco: no]
    stage.mask_same_image = False  # leave keys of the query's own image out [moco: no]
    # Where the key's view comes from: the query's own `image`; or another photograph of the same
    # `lesion`, or of the same `patient` (of the same lesion, else at the same site of the body,
    # else, where the site is not known, any), drawn anew at each step; an image without another
    # one gives its own. Keys of the query's lesion (patient) are then no negatives, whatever
    # mask_same_image says. MICLe (Azizi et al. 2021), MedAug (Vu et al. 2021).
    stage.positives = "image"  # [authors]: their data have one image of each object
    stage.optimizer = "sgd"  # [authors]; or adamw [moco-v3], whose decay is of kernels only
    stage.learning_rate = 0.02  # [authors]
    stage.schedule = "step"  # or cosine, constant [authors]
    stage.milestones = (0.6, 0.8)  # shares of steps: epochs 720 and 960 [authors]
    stage.decay = 0.1  # at each milestone [authors]
    stage.warmup_steps = 0  # [authors]
    stage.sgd_momentum = 0.9  # [authors]
    stage.nesterov = True  # [authors]
    stage.weight_decay = 1e-4  # on every parameter [authors]
    stage.augment = ConfigDict(
        {
            "crop_scale": (0.08, 1.0),  # share of the area [authors]
            "flip_horizontal": 0.5,  # probability [authors]
            "flip_vertical": 0.0,  # [authors]
            "rotation": 0.0,  # degrees, +- [authors]
            "brightness": 0.4,  # strength of the colour jitter [authors]
            "contrast": 0.4,  # [authors]
            "saturation": 0.4,  # [authors]
            "hue": 0.1,  # turns [authors]
            "jitter_probability": 0.8,  # [authors]
            "grayscale_probability": 0.2,  # [authors]
            "blur_probability": 0.5,  # [authors]
            "blur_sigma": (0.1, 2.0),  # px [authors]
        }
    )
    # Nearest neighbours among the labelled training images, asked of the validation images: they
    # measure and train nothing.
    stage.monitor = ConfigDict(
        {
            "every": 0,  # steps, a multiple of report_every; 0: so that it takes 2 % of the time
            "k": 0,  # neighbours that vote; 0: the root of the labels, at most 200 [ours]
            "temperature": 0.1,  # of their votes [notebook]
            "features": "encoder",  # what fine-tuning starts from [ours]; embedding [notebook]
        }
    )
    stage.report_every = 100  # steps
    stage.save_every = 1000  # steps, a multiple of report_every
    return stage


def _finetune() -> ConfigDict:
    """Stage 2 of every strategy. Only `steps` and the geometry are public; the rest is [ours]."""
    stage = ConfigDict()
    stage.steps = 27_000  # [paper]
    stage.batch_size = 32  # images, global
    stage.image_size = 512  # px [paper]
    stage.bn_groups = 1  # batch norm over the whole global batch
    # As in pretraining; also what augmentation, dropout and stochastic depth draw is the same. One
    # group cannot be parted: two parts on one device need bn_groups = 2, another batch norm.
    stage.accumulate_steps = 1
    stage.learning_rate = 3e-4  # AdamW, cosine to 0
    # Factor of the learning rate for an encoder that was trained before (SS, SS-IN, IN), above 0
    # and at most 1: below 1 it keeps more of what it knows, while the new classifier learns at the
    # full rate. An encoder that starts from random weights (FS) always has the full rate.
    stage.encoder_rate = 1.0
    stage.schedule = "cosine"
    stage.warmup_steps = 500
    stage.weight_decay = 0.05  # on kernels only
    stage.label_smoothing = 0.1
    # For rare classes; off unless asked for. Of `sampling`, `class_weights` and `logit_adjustment`
    # one at a time: each makes up for the same unequal counts of labelled training images.
    # Images of a batch: `uniform`, all alike; `balanced`, as many of each class, rare ones again
    # and again: class-balanced sampling of Kang et al. 2020 [ours].
    stage.sampling = "uniform"
    # cross_entropy; `focal` counts well classified images less: Lin et al. 2017, equation 4 [ours].
    # It needs label_smoothing = 0.
    stage.loss = "cross_entropy"
    stage.focal_gamma = 2.0  # of `focal`, at least 0, which is cross-entropy; Lin et al.'s
    # Factors of the loss by class: none; `effective_number`, inverse to (1 - beta^n) / (1 - beta)
    # of a class of n images: Cui et al. 2019 [ours].
    stage.class_weights = "none"
    # Of `effective_number`, in [0, 1): 0 weighs all alike, near 1 as 1 / n; one of Cui et al.'s.
    stage.effective_number_beta = 0.999
    # tau: training's logits + tau log(share of the class), predictions without: Menon et al. 2021,
    # equation 10 [ours]. 0: off; 1: theirs; it needs label_smoothing = 0.
    stage.logit_adjustment = 0.0
    stage.augment = ConfigDict(
        {
            "crop_scale": (0.3, 1.0),  # random crop [paper], its range [ours]
            "flip_horizontal": 0.5,  # flips [paper]
            "flip_vertical": 0.5,
            "rotation": 45.0,  # degrees, +-; rotation [paper], its range [ours]
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.1,
            "hue": 0.02,  # little: redness is the diagnosis
            "jitter_probability": 0.8,
            "grayscale_probability": 0.0,
            "blur_probability": 0.0,
            "blur_sigma": (0.1, 2.0),
        }
    )
    stage.report_every = 100  # steps
    stage.evaluate_every = 500  # steps, on validation; a checkpoint each
    # The checkpoint that is tested: highest macro_sensitivity (or accuracy, or lowest log_loss) on
    # validation; equals are told apart by the lower log loss.
    stage.select = "macro_sensitivity"
    return stage


def small() -> ConfigDict:
    """One GPU, about an hour: 224 px, a queue shorter than the data, cosine [ours, from moco]."""
    config = paper()
    config.data.max_side = 256
    config.data.synthetic = _synthetic(lesions=6_000, width=960, height=540)
    pretrain = config.pretrain
    pretrain.steps = 6_000  # [ours]
    pretrain.batch_size = 128  # [ours]: one GPU
    pretrain.image_size = 224  # px [moco]
    pretrain.bn_groups = 8  # [moco]: of 16 images here, of 32 there
    # Two batches. In short trainings the keys of one step drift away from a longer queue together,
    # until their age, not the image, gives them away; negatives of the same age keep them from it.
    # Little is lost: 256 keys came within .5 points of 65,536 on ImageNet (EqCo).
    pretrain.queue_size = 0  # [ours]
    pretrain.batch_negatives = True  # [ours]
    pretrain.momentum = 0.99  # [notebook]: a small queue of young keys
    pretrain.momentum_end = 0.999  # [moco]; the ramp between them [byol]
    pretrain.mask_same_image = True  # [ours]
    # Without it a short training leaves all embeddings in one cone [ours, measured].
    pretrain.head_norm = True  # [moco-v3]
    # SGD at .03 [moco] moves a young EfficientNet little, at .4 it collapses [ours, measured].
    pretrain.optimizer = "adamw"  # [ours]
    pretrain.learning_rate = 1e-3  # [ours]
    pretrain.weight_decay = 0.05  # [ours]
    pretrain.warmup_steps = 300  # [ours]
    pretrain.schedule = "cosine"  # [moco]
    pretrain.nesterov = False  # [moco], with SGD
    # Gentle colours, as colour is the diagnosis: chosen on HAM10000's validation images with
    # efficientnet_mini at 48 px (tests/benchmarks/recipes.py); untried with B4 at 224 px.
    pretrain.augment.crop_scale = (0.3, 1.0)  # [ours]
    pretrain.augment.flip_vertical = 0.5  # [ours]: a lesion has no upright
    pretrain.augment.rotation = 180.0  # [ours]
    pretrain.augment.brightness = 0.2  # [ours]
    pretrain.augment.contrast = 0.2  # [ours]
    pretrain.augment.saturation = 0.1  # [ours]
    pretrain.augment.hue = 0.02  # [ours]
    pretrain.augment.grayscale_probability = 0.0  # [ours]
    finetune = config.finetune
    finetune.steps = 5_000
    finetune.image_size = 224
    finetune.evaluate_every = 500
    return config


def demo() -> ConfigDict:
    """Two CPU cores, about five minutes: a small network at 48 px, long enough to learn."""
    config = small()
    config.control = True
    config.model.name = DEMO_NETWORK
    config.model.drop_rate = 0.2
    config.model.drop_path_rate = 0.0
    config.data.max_side = 64
    config.data.read_threads = 2
    # Less unequal classes than the paper's: of a class with one test image nothing can be said.
    config.data.synthetic = _synthetic(lesions=4_000, width=480, height=270, tail=0.5)
    pretrain = config.pretrain
    # Small batches learn more from as many images: with 225,000 pairs of the embedded data, kNN and
    # probes reached .79 in batches of 32, .77 in 64 and .69 in 128 (mean balanced accuracy of
    # validation images, tests/benchmarks/recipes.py).
    pretrain.steps = 4_400
    pretrain.batch_size = 32
    pretrain.image_size = 48
    pretrain.bn_groups = 1
    pretrain.hidden_dim = 512
    # A small network learns with it at once; 1e-3 was slower there and on HAM10000.
    pretrain.learning_rate = 3e-3
    pretrain.warmup_steps = 40
    pretrain.augment.blur_sigma = (0.1, 0.6)  # px: about the share of 48 px that 2 px are of 224
    pretrain.report_every = 40
    pretrain.save_every = 400
    finetune = config.finetune
    finetune.steps = 200
    finetune.batch_size = 64
    finetune.image_size = 48
    finetune.learning_rate = 1e-2
    finetune.warmup_steps = 20
    finetune.report_every = 20
    finetune.evaluate_every = 40
    config.evaluate.batch_size = 128
    return config


def adapt_demo(config: ConfigDict) -> None:
    """The demo of networks that take ten times as long to a step: shorter, with less of a rate."""
    config.model.drop_path_rate = 0.1
    pretrain = config.pretrain
    pretrain.steps = 200
    pretrain.batch_size = 32
    pretrain.bn_groups = 4
    pretrain.learning_rate = 5e-4
    pretrain.report_every = 10
    pretrain.save_every = 50
    finetune = config.finetune
    finetune.steps = 160
    finetune.batch_size = 32
    finetune.learning_rate = 1e-3
    finetune.report_every = 10


SCALES = {"paper": paper, "small": small, "demo": demo}
