"""PreAct-ResNet: He et al., arXiv 1603.05027, Figure 4 (e), with the widths of ResNet-18, for 32 x 32 pixels.

Norm and ReLU precede each convolution, so none follows the stem, and one pair follows the last block. Where
the shape changes, the shortcut is a separate norm and a 1x1 convolution; in the authors' code it shares the
block's first norm and ReLU. (896 parameters more, as in the reference.)
"""

from torch import Tensor, nn

from .parts import network


class PreActBlock(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)"""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut.append(nn.BatchNorm2d(inputs))
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


def preact_resnet18() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [PreActBlock(inputs, outputs, stride), PreActBlock(outputs, outputs, 1)]
        inputs = outputs
    return network(nn.Sequential(*layers, nn.BatchNorm2d(512), nn.ReLU(inplace=True)), 512)
