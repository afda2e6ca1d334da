"""A convolution and its batch norm, which is folded into it for inference."""

from torch import Tensor, nn


class NormedConv2d(nn.Module):
    """y = BN(conv(x)), padded to keep the size but for the stride.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: side of the kernel in pixels, odd.
        stride: in pixels.
        bias: where batch norm's bias starts.

    Attributes:
        spread: once folded, root mean square of the output over the training pictures, as batch
            norm has it: sqrt(mean(gamma^2 + beta^2)), a tensor [].
    """

    spread: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: float
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.norm.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, out_channels, H / stride, W / stride] for [B, in_channels, H, W]."""
        y: Tensor = self.norm(self.conv(x))
        return y

    def fold(self) -> None:
        """Fold the batch norm into the convolution, in place, for inference alone."""
        if isinstance(self.norm, nn.BatchNorm2d):
            squares = self.norm.weight.detach() ** 2 + self.norm.bias.detach() ** 2
            self.register_buffer("spread", squares.mean().sqrt())
            self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()
