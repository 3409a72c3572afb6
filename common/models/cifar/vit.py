"""ViT: Dosovitskiy et al., arXiv 2010.11929, equations 1 to 4, with patches of 4 x 4 for 32 x 32 pixels.

Tiny and Small have the widths and heads of DeiT (Touvron et al., arXiv 2012.12877, Table 1), 12 layers each.
timm's network and initialisation with two changes, as in the reference: no norm before the head (equation
4 has one), and dropout 0.1 after positions, attention and MLP, not within the MLP (the paper's appendix B.1
has it after every dense layer). Positions start with a deviation of 0.02, those of the reference with 1.
Other sizes resample the positions; sides that 4 does not divide are padded.
"""

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .parts import CLASSES


def vit(width: int, heads: int) -> nn.Module:
    net = VisionTransformer(
        img_size=32,
        patch_size=4,
        num_classes=CLASSES,
        embed_dim=width,
        depth=12,
        num_heads=heads,
        pos_drop_rate=0.1,
        proj_drop_rate=0.1,
        final_norm=False,
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )
    for block in net.blocks:
        block.mlp.drop1 = nn.Identity()
    return net


def vit_tiny() -> nn.Module:
    return vit(192, 3)


def vit_small() -> nn.Module:
    return vit(384, 6)
