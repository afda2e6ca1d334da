"""The spiking convolution: convolution, batch norm and a layer of LTC neurons."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import NeuronConfig
from spyv4.errors import StateShapeError
from spyv4.neurons.adaptive import AdaptiveLTCState, adaptive_ltc_step
from spyv4.neurons.ltc import LTCState, ltc_step

NeuronState = LTCState | AdaptiveLTCState

# From rest, a neuron spikes at the first read only if kappa * c > theta. With batch norm's usual
# start (kappa about 0.5, c of unit variance) that is 2 % of the neurons of layer one and next to
# none of the deep ones, which then learn nothing for a long time. A higher starting rate and a
# small positive current let about 15 % fire.
INITIAL_RATE_BIAS = 1.0
INITIAL_CURRENT_BIAS = 0.3


class SpikingConv2d(nn.Module):
    """Convolution whose output drives LTC neurons (reference section 2).

        c_t     = upsample(BN(conv(x_t)))
        kappa_t = sigmoid(BN(conv3x3(c_t + u_{t-1})))        fusion "sum"
        kappa_t = sigmoid(BN(conv3x3([c_t, u_{t-1}])))       fusion "concat"

    followed by `ltc_step`, or by `adaptive_ltc_step` with rho_t computed from [c_t + b_{t-1}]
    in the same way where the neuron is adaptive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        neuron: NeuronConfig,
        *,
        stride: int = 1,
        upsample: int = 1,
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.out_channels = out_channels
        self.stride = stride
        self.upsample = upsample
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.norm.bias, INITIAL_CURRENT_BIAS)
        self.rate_conv, self.rate_norm = self._rate_branch()
        if neuron.adaptive:
            self.adapt_conv, self.adapt_norm = self._rate_branch()

    def _rate_branch(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """The convolution and batch norm behind one sigmoid."""
        fused = self.out_channels * (2 if self.neuron.fusion == "concat" else 1)
        conv = nn.Conv2d(fused, self.out_channels, 3, padding=1, bias=False)
        norm = nn.BatchNorm2d(self.out_channels)
        nn.init.constant_(norm.bias, INITIAL_RATE_BIAS)
        return conv, norm

    def initial_state(
        self,
        batch: int,
        in_size: tuple[int, int],
        *,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> NeuronState:
        """Potentials at rest (zero), or uniform in 0..1 when a generator is given.

        Args:
            batch: number of pictures.
            in_size: (height, width) of the layer's input.
            like: a tensor of the dtype and device that the state shall have.
            generator: source of randomness, on that device.
        """
        height, width = self.output_size(in_size)
        shape = (batch, self.out_channels, height, width)
        u = torch.zeros(shape, dtype=like.dtype, device=like.device)
        if generator is not None:
            u.uniform_(generator=generator)
        u = u.to(memory_format=torch.channels_last)
        if not self.neuron.adaptive:
            return LTCState(u)
        return AdaptiveLTCState(u, torch.zeros_like(u), torch.zeros_like(u))

    def output_size(self, in_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the layer's neurons for an input of size `in_size`."""
        height, width = ((side - 1) // self.stride + 1 for side in in_size)
        return height * self.upsample, width * self.upsample

    def current(self, x: Tensor) -> Tensor:
        """Input current c_t of the neurons, [B, C, H, W], for an input [B, C_in, H_in, W_in]."""
        current: Tensor = self.norm(self.conv(x))
        if self.upsample > 1:
            current = functional.interpolate(
                current, scale_factor=float(self.upsample), mode="nearest"
            )
        return current

    def neurons(self, current: Tensor, state: NeuronState) -> tuple[Tensor, NeuronState]:
        """One read of the layer's neurons, driven by `current`.

        Raises:
            StateShapeError: if the state is of other neurons or another picture size.
        """
        expected = AdaptiveLTCState if self.neuron.adaptive else LTCState
        if not isinstance(state, expected):
            raise StateShapeError(
                f"these neurons need a state of type {expected.__name__}, not "
                f"{type(state).__name__}; start from initial_state() of the same network"
            )
        if state.u.shape != current.shape:
            raise StateShapeError(
                f"state of shape {tuple(state.u.shape)} does not fit an input current of shape "
                f"{tuple(current.shape)}; start from initial_state() of the same batch and size"
            )
        rate = torch.sigmoid(self.rate_norm(self.rate_conv(self._fuse(current, state.u))))
        if isinstance(state, LTCState):
            return ltc_step(current, rate, state, self.neuron)
        rho = torch.sigmoid(self.adapt_norm(self.adapt_conv(self._fuse(current, state.b))))
        return adaptive_ltc_step(current, rate, rho, state, self.neuron)

    def _fuse(self, current: Tensor, other: Tensor) -> Tensor:
        if self.neuron.fusion == "concat":
            return torch.cat((current, other), dim=1)
        return current + other

    def forward(self, x: Tensor, state: NeuronState) -> tuple[Tensor, NeuronState]:
        """Spikes in {0, 1}, [B, C, H, W], and the new state."""
        return self.neurons(self.current(x), state)

    def fold(self) -> None:
        """Fold the batch norms into their convolutions, in place, for inference alone."""
        pairs = [("conv", "norm"), ("rate_conv", "rate_norm")]
        if self.neuron.adaptive:
            pairs.append(("adapt_conv", "adapt_norm"))
        for conv_name, norm_name in pairs:
            conv, norm = getattr(self, conv_name), getattr(self, norm_name)
            if not isinstance(norm, nn.Identity):
                setattr(self, conv_name, nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(self, norm_name, nn.Identity())


def fold_batch_norm(modules: Iterable[nn.Module]) -> None:
    """Fold the batch norms of every spiking convolution among `modules`, in place."""
    for module in modules:
        if isinstance(module, SpikingConv2d):
            module.fold()
