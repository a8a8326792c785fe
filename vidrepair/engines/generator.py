"""The repair generator: a recurrent U-Net over motion-aligned memory, in plain torch.

Two graphs, `align` (whole picture, fp32) and `restore` (may be tiled, may run in bf16 or
half). Their tensors are a contract that every engine, export and training relies on; it is
spelled out at `Generator.align` and `Generator.restore`.

No normalisation layer, no attention and no global pooling: every output depends on a bounded
neighbourhood only, so tiles and picture sizes cannot change a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrepair.engines.layers import SLOPE, enlarge, reduce, silence, smooth, warp
from vidrepair.engines.motion import MotionNet
from vidrepair.errors import ModelError
from vidrepair.models import WeightsFile
from vidrepair.models.card import UNSHUFFLED

NOISE_KNOTS = 17
LOOK_AHEAD = 1
STRIDE = 16
"""Pictures are padded to a multiple of this: four halvings, from full to 1/16 size."""

# What the convolutions see has its local mean taken out and is brought to deviations of about
# one. Where brightness was left in, all units of the deeper scales were soon on the same side of
# their nonlinearity everywhere, and the network had become a linear filter.
_CONTRAST = 0.02
"""Deviation of the picture's own detail; together with the noise it gives the unit."""
_MAP_GAIN = 8.0
_STATE_BOUND = 8.0
_CHANGE_BOUND = 4.0
"""Deviations of its noise that a sample may be moved. Noise hardly ever goes farther, and where a
neighbour lies wrong a network's trust would."""
_DOUBT_GAIN = 0.25
_SEEN_BOUND = 4.0
"""Units that the network sees a neighbour differ by, at most; farther off, only that it is far off
can be learned."""
_BELIEVED = 2.0
"""Times the noise's power by which two pictures differ where each has its noise, and no more."""
_DOUBT = 4.0
"""A generator that has seen no damage yet says 2 % everywhere."""


@dataclass(frozen=True, slots=True)
class GeneratorShape:
    """The sizes that make a generator: everything `Generator` needs besides its weights."""

    widths: tuple[int, int, int] = (32, 48, 96)
    """Channels at 1/2, 1/4 and 1/8 size; the first is also that of the features in the state."""
    blocks: tuple[int, int, int] = (1, 1, 2)
    """Residual blocks at 1/2 and 1/4 size (on the way down, and again up), and at 1/8 size."""
    motion_width: int = 20
    """Channels of the motion net."""

    def __post_init__(self) -> None:
        if any(width % 8 for width in self.widths):
            raise ValueError(f"widths {self.widths} must be multiples of 8")

    @property
    def state_channels(self) -> int:
        """S, the channels of the memory: the repaired frame, less the frame, and the features."""
        return UNSHUFFLED + self.widths[0]

    @property
    def halo(self) -> int:
        """Pixels around a tile that its result depends on, rounded up to whole strides.

        Followed from a tile's edge in cells of each scale, up through the network and down
        again to its inputs, of which a disagreement looks at one cell more. The local mean
        looks at up to two cells of quarter size more, by then with a weight that moves nothing
        by 1e-6.
        """
        n_half, n_quarter, n_eighth = self.blocks
        half = 1 + 2 * n_half  # a head; two 3x3 convolutions in each residual block
        quarter = (half + 1) // 2 + 2 * n_quarter
        eighth = (quarter + 1) // 2 + 2 * n_eighth
        reach = 2 * (2 * (2 * eighth + 2 * n_quarter) + 2 * n_half + 1 + 1)
        return -(-reach // STRIDE) * STRIDE


FAST = GeneratorShape()
BASE = GeneratorShape(widths=(48, 96, 192), motion_width=32)
SHAPES = {"fast": FAST, "base": BASE}


def local_mean(frame: Tensor) -> Tensor:
    """Mean of about 12x12 samples: (B, C, H, W) -> (B, C, H/4, W/4)."""
    return smooth(reduce(frame, 4))


def noise_map(noise: Tensor, luma: Tensor) -> Tensor:
    """Noise profile (B, 2, 17) and smoothed luma (B, 1, h, w) -> deviations (B, 2, h, w).

    Piecewise linear between the 17 luma levels 0..1. The luma is that of `local_mean`, so that
    the noise itself does not choose its own level.
    """
    position = luma.clamp(0.0, 1.0) * (NOISE_KNOTS - 1)
    knots = torch.arange(NOISE_KNOTS, device=luma.device, dtype=luma.dtype)
    weights = (1.0 - (position - knots[:, None, None]).abs()).clamp(min=0.0)
    levels: Tensor = torch.matmul(noise, weights.flatten(2)).unflatten(2, weights.shape[-2:])
    return levels


def _phases(unshuffled: Tensor) -> Tensor:
    """(B, 12, h, w) -> (B, 3, 4, h, w): the four phases of each plane."""
    phases: Tensor = unshuffled.unflatten(1, (3, 4))
    return phases


def _moved(picture: Tensor, motion: Tensor) -> Tensor:
    """(B, 3, H, W) warped by motion at quarter size, unshuffled: (B, 12, H/2, W/2).

    Sampled at full size: a phase of an unshuffled picture alone would be interpolated over twice
    the distance, which blurs odd displacements. And bicubic: a bilinear sampling at each step would
    leave little of fine detail in the memory.
    """
    return functional.pixel_unshuffle(warp(picture, motion, 4, mode="bicubic"), 2)


def _disagreement(difference: Tensor, noise: Tensor) -> Tensor:
    """How much two pictures differ around a place, against what noise alone would make of it.

    `difference` (B, 12, h, w), unshuffled, and deviation of the luma's noise (B, 1, h, w) -> the
    logarithm of the ratio of powers (B, 1, h, w), over 6x6 samples of luma.
    """
    floor = 1.0 / 255.0**2  # rounding, and what hides in it
    power = smooth(difference[:, :4].square().mean(dim=1, keepdim=True))
    return ((power + floor) / (noise.square() + floor)).log()


def _trust(disagreement: Tensor) -> Tensor:
    """The weight of a neighbour, 0..1: one up to _BELIEVED, then falling as the ratio grows.

    Where motion went astray a neighbour shows another thing, however sure a network is of it;
    weighted like this it offers the less, the farther it is off (redescending, as Cauchy's
    M-estimator is).
    """
    return (math.log(_BELIEVED) - disagreement).clamp(max=0.0).exp()


def _weigh(
    neighbours: list[Tensor], unit: Tensor, noise: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """What the pictures before and after change of a frame, two times (B, 12, h, w).

    `unit` brings it to deviations of about one, `noise` is the luma's. Returns what they offer,
    each weighted by the trust in it; what the network sees of them, bounded; and how far each two
    of the three pictures disagree (B, 3, h, w).
    """
    pairs = (*neighbours, neighbours[0] - neighbours[1])
    doubts = [_disagreement(pair, noise) for pair in pairs]
    offers, seen = [], []
    for part, doubt in zip(neighbours, doubts[:2], strict=True):
        change = _phases(part) * unit
        offers.append((change * _trust(doubt)[:, :, None]).flatten(1, 2))
        seen.append(change.clamp(-_SEEN_BOUND, _SEEN_BOUND).flatten(1, 2))
    return offers, seen, torch.cat(doubts, dim=1) * _DOUBT_GAIN


class ResidualBlock(nn.Module):
    """x + conv(leaky_relu(conv(x))), the identity at the start of training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        silence(self.second)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(functional.leaky_relu(self.first(x), SLOPE))
        return x + change


class Restorer(nn.Module):
    """The U-Net: three scales on the unshuffled frame, plain convolutions."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        half, quarter, eighth = shape.widths
        n_half, n_quarter, n_eighth = shape.blocks
        # The frame, what both neighbours change, the features; how far each two of the three
        # pictures disagree, the local mean and the noise map.
        seen = 3 * UNSHUFFLED + half + 3 + 3 + 2
        self.enter = nn.Conv2d(seen, half, 3, padding=1)
        self.half_in = nn.Sequential(*(ResidualBlock(half) for _ in range(n_half)))
        self.down_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.quarter_in = nn.Sequential(*(ResidualBlock(quarter) for _ in range(n_quarter)))
        self.down_eighth = nn.Conv2d(quarter, eighth, 2, stride=2)
        self.eighth = nn.Sequential(*(ResidualBlock(eighth) for _ in range(n_eighth)))
        self.up_quarter = nn.Conv2d(eighth, 4 * quarter, 1)
        self.quarter_out = nn.Sequential(*(ResidualBlock(quarter) for _ in range(n_quarter)))
        self.up_half = nn.Conv2d(quarter, 4 * half, 1)
        self.half_out = nn.Sequential(*(ResidualBlock(half) for _ in range(n_half)))
        self.denoise = nn.Conv2d(half, 4 * UNSHUFFLED, 3, padding=1)  # the change, and three gates
        self.repair = nn.Conv2d(half, 2 * UNSHUFFLED + 4, 1)  # a change, the defect, a share
        silence(self.denoise)
        silence(self.repair)
        assert self.repair.bias is not None
        nn.init.constant_(self.repair.bias[UNSHUFFLED + 4 :], 0.5)  # the mean of both neighbours

    def forward(self, seen: Tensor, offers: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs at half size -> features, raw denoise (12) and raw repair (28).

        `offers` are three times 12 channels: the detail of frame t, and what the restored t-1 and
        t+1 change of it. Each sample gets a share of all three, weighted by gates that the network
        opens where a picture can be trusted: flat places lose their detail, still ones follow their
        memory.
        """
        # The weights may be in half precision; what is weighed by the gates never is.
        half = self.half_in(self.enter(seen.to(self.enter.weight.dtype)))
        quarter = self.quarter_in(self.down_quarter(half))
        eighth = self.eighth(self.down_eighth(quarter))
        quarter = quarter + functional.pixel_shuffle(self.up_quarter(eighth), 2)
        quarter = self.quarter_out(quarter)
        half = self.half_out(half + functional.pixel_shuffle(self.up_half(quarter), 2))
        change, *gates = self.denoise(half).float().chunk(4, dim=1)
        for gate, offer in zip(gates, offers, strict=True):
            change = change + gate * offer
        return half, change, self.repair(half)


class Generator(nn.Module):
    """Align the memory to a frame, then restore the frame. See the two methods."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape = shape
        self.motion_net = MotionNet(shape.motion_width)
        self.restorer = Restorer(shape)

    def initial_state(self, frame: Tensor) -> Tensor:
        """The memory before a span's first step: zeros (B, S, H/2, W/2) for (B, 3, H, W)."""
        batch, _, height, width = frame.shape
        return frame.new_zeros(batch, self.shape.state_channels, height // 2, width // 2)

    def align(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Bring memory and look-ahead to the place where frame t shows them.

        `frames` (B, 3, 3, H, W): t-1, t, t+1 as Y', Cb, Cr of the source's own matrix, luma
        code / peak in 0..1, chroma (code - half range) / peak in -0.5..0.5; H and W multiples
        of 16. `state` (B, S, H/2, W/2): the memory of t-1.
        Returns `motion` (B, 4, H/4, W/4), the displacement (x, y) to t-1 and to t+1 in
        full-size pixels, and `aligned` (B, S + 12, H/2, W/2), the restored t-1 (12 channels),
        its features and t+1, all warped to t. Whole picture and fp32 always, autocast or not.
        """
        with torch.autocast(frames.device.type, enabled=False):
            restored = frames[:, 0] + functional.pixel_shuffle(state[:, :UNSHUFFLED].float(), 2)
            here, after = frames[:, 1, :1], frames[:, 2]
            # The motion back is sought in the restored frame, where there is less noise. One way
            # after the other: a batch of both would take twice the memory, and no less time.
            back = self.motion_net(here, restored[:, :1].detach())
            ahead = self.motion_net(here, after[:, :1])
            # Only the warping loss trains the motion. The restoring loss would shift all memory by
            # half a pixel: interpolation is a low-pass, and that removes noise for nothing.
            fixed = back.detach()
            memory = warp(state[:, UNSHUFFLED:].float(), fixed / 2.0, 2)
            pictures = (_moved(restored, fixed), memory, _moved(after, ahead.detach()))
            return torch.cat((back, ahead), dim=1), torch.cat(pictures, dim=1)

    def restore(
        self, frame: Tensor, aligned: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Restore frame t.

        `frame` (B, 3, H, W) and `aligned` as in `align`; `noise` (B, 2, 17): standard
        deviation of the stored samples of luma and of chroma at 17 luma levels 0..1, in the
        unit of the frame.
        Returns `denoise` (B, 3, H, W), the residual to add, zero where the noise is zero;
        `fill` (B, 3, H, W), the picture where frame t is damaged; `defect` (B, 1, H, W), the
        probability of damage; `state` (B, S, H/2, W/2), the memory of t: what makes the repaired
        frame of it, unshuffled, and the features.
        """
        mean = local_mean(frame)
        sigma = enlarge(noise_map(noise, mean[:, :1]), 2)
        mean = enlarge(mean, 2)
        # One value for the four phases of a plane, broadcast: repeating it would cost more time
        # than a convolution.
        scale = torch.cat((sigma, sigma[:, 1:]), dim=1)[:, :, None]
        unit = (scale.square() + _CONTRAST**2).rsqrt()
        picture = functional.pixel_unshuffle(frame, 2)
        # Made where it is used: what comes from the host cannot be captured in a CUDA graph.
        level = mean - torch.cat((mean.new_full((1, 1, 1), 0.5), mean.new_zeros(2, 1, 1)))
        detail = ((_phases(picture) - mean[:, :, None]) * unit).flatten(1, 2)
        neighbours = [
            part - picture for part in (aligned[:, :UNSHUFFLED], aligned[:, -UNSHUFFLED:])
        ]
        offers, seen, doubt = _weigh(neighbours, unit, sigma[:, :1])
        facts = torch.cat((doubt, level, sigma * _MAP_GAIN - 0.5), dim=1)
        features = aligned[:, UNSHUFFLED:-UNSHUFFLED]
        features, change, repair = self.restorer(
            torch.cat((detail, *seen, features, facts), dim=1), (detail, *offers)
        )
        # Bounded, so that no span can run away however long it gets. Residuals and the state leave
        # in fp32, whatever the convolutions ran in.
        features = features.float().clamp(-_STATE_BOUND, _STATE_BOUND)
        change = change.float().clamp(-_CHANGE_BOUND, _CHANGE_BOUND)
        scaled = (_phases(change) * scale).flatten(1, 2)
        added, logits, share = repair.float().split((UNSHUFFLED, 4, UNSHUFFLED), dim=1)
        # Of the neighbours alone: what stands in a hole must not come through.
        added = added + share * neighbours[0] + (1.0 - share) * neighbours[1]
        added = added.clamp(-1.0, 1.0)
        defect = torch.sigmoid(logits - _DOUBT)
        return (
            functional.pixel_shuffle(scaled, 2),
            functional.pixel_shuffle(picture + added, 2),
            functional.pixel_shuffle(defect, 2),
            torch.cat((_remember(scaled, added, defect), features), dim=1),
        )

    def forward(self, frames: Tensor, state: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """One step, fused: align, then restore. Returns denoise, fill, defect, state, motion."""
        motion, aligned = self.align(frames, state)
        return *self.restore(frames[:, 1], aligned, noise), motion


def _remember(denoised: Tensor, filled: Tensor, defect: Tensor) -> Tensor:
    """What the memory adds to the frame (B, 12, h, w): the fill as far as there is a defect.

    The memory is of the repaired picture, or dirt would come back as its own evidence. How sure
    the defect is must not be trained by what it does to the memory.
    """
    weight = defect.detach()[:, None]
    memory: Tensor = _phases(denoised) + weight * (_phases(filled) - _phases(denoised))
    return memory.flatten(1, 2)


def load_generator(file: WeightsFile) -> Generator:
    """The generator of a weights file, in fp32, ready to run.

    Raises ModelError when the card's shape is not that of the weights.
    """
    card = file.card
    generator = Generator(GeneratorShape(card.widths, card.blocks, card.motion_width))
    weights = {name: torch.from_numpy(values).float() for name, values in file.weights.items()}
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {file.path} are of another shape than its card says; fetch it again"
        ) from error
    return generator.eval()
