"""Grain learned from footage: three models on the same patches, and the best of them kept.

A generative adversarial net (Goodfellow et al. 2014), a variational autoencoder of the same size
(Kingma and Welling 2014), and an autoregressive filter (as film grain in AV1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import FORMS
from training.degrade.grain_net import (
    LAG,
    LATENT,
    LEVELS,
    QUANTILES,
    REACH,
    GrainNet,
    Regression,
)
from training.degrade.learned import LearnedGrain, write_grain
from training.discriminator import accuracy, discriminator_loss, generator_loss
from training.grain_compare import Likeness, compare
from training.grain_patches import SIDE, Patches
from training.octaves import Array
from training.optimiser import Average
from training.patch_nets import judge_layers, through
from training.ticker import Tell, Ticker, silent
from vidrepair.frames import FloatArray

_BATCH = 32
_RATE = 2e-4
_HELD_OUT = 0.25
"""Share of the areas that no model learns from."""
_GROUPS = 4


@dataclass(frozen=True, slots=True)
class GrainSettings:
    """Of one training."""

    steps: int = 1500
    """Of the two nets, each."""
    form: str = "non-saturating"
    anchor: float = 0.5
    """Of the difference of the spectrum and of the power by luma, beside the game."""
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"--steps is {self.steps}; use 1 or more")
        if self.form not in FORMS:
            raise ValueError(f"the form of the loss is {self.form!r}; use {', '.join(FORMS)}")


class PatchDiscriminator(nn.Module):
    """Grain and the luma under it (B, 2, side, side) -> logits (B, 1, side/4, side/4)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = judge_layers(2, width)

    def forward(self, grain: Tensor, luma: Tensor) -> Tensor:
        x = torch.cat((grain, (2.0 * luma - 1.0).expand_as(grain)), dim=1)
        return through(self.layers, x)


class Encoder(nn.Module):
    """Grain and luma -> mean and logarithm of the variance of each z under it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            (
                nn.Conv2d(2, width, 5, padding=2),
                nn.Conv2d(width, width, 5, padding=2),
                nn.Conv2d(width, 2 * LATENT, 3, padding=1),
            )
        )

    def forward(self, grain: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat((grain, (2.0 * luma - 1.0).expand_as(grain)), dim=1)
        x = functional.pad(x, (REACH, REACH, REACH, REACH))
        mean, logarithm = through(self.layers, x).chunk(2, dim=1)
        return mean, logarithm.clamp(-12.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One model, and how like the real grain it is."""

    grain: LearnedGrain
    likeness: Likeness
    drawn: FloatArray
    """(N, SIDE, SIDE) of it, at the levels of:"""
    real: Patches
    """Those held out."""

    def told(self) -> str:
        """Its kind and its figures, for a legend."""
        found = self.likeness
        return (
            f"{self.grain.kind}: {_octaves(found)} dB, histogram {found.histogram:.3f}, by luma "
            f"{found.luma:.2f} dB, nearest {found.nearest:.3f}"
        )


def learn_grain(
    patches: Patches,
    out: Path,
    settings: GrainSettings,
    *,
    kind: str = "best",
    tell: Tell = silent,
) -> tuple[list[Trial], Trial]:
    """Train all three on the grain of footage; write the best, or the one of a kind, to `out`.

    Returns all of them, the best first, and the one that was written; `tell` hears of what is done
    meanwhile.
    """
    trials = sorted(
        try_all(patches, settings, tell),
        key=lambda trial: (not trial.likeness.keeps, trial.likeness.distance),
    )
    chosen = trials[0] if kind == "best" else next(one for one in trials if one.grain.kind == kind)
    figures = {one.grain.kind: one.likeness.figures() for one in trials}
    write_grain(out, chosen.grain, {"footage": patches.footage, "steps": settings.steps} | figures)
    return trials, chosen


def try_all(patches: Patches, settings: GrainSettings, tell: Tell = silent) -> list[Trial]:
    """The three models, compared on areas that none of them saw."""
    areas = np.unique(patches.area)
    rng = np.random.default_rng(settings.seed)
    unseen = rng.permutation(areas)[: max(1, round(_HELD_OUT * len(areas)))]
    held_out = np.isin(patches.area, unseen)
    seen, real = patches.part(~held_out), patches.part(held_out)
    steps = f"of {settings.steps} steps"
    makers: dict[str, Callable[[Patches, GrainSettings, Callable[..., None]], LearnedGrain]] = {
        "an autoregressive filter": fit_regression,
        f"a variational autoencoder {steps}": train_vae,
        f"an adversarial net {steps}": train_gan,
    }
    trials = []
    for name, make in makers.items():
        tell(f"learning {name}")
        ticker = Ticker(tell, settings.steps)
        grain = make(seen, settings, lambda *_, ticker=ticker: ticker.step())
        drawn = draw_like(grain, real, settings.seed)
        trials.append(Trial(grain, compare(drawn, real, seen), drawn, real))
    return trials


def draw_like(grain: LearnedGrain, real: Patches, seed: int) -> FloatArray:
    """As many patches, at the same levels of luma and in the same unit, each of mean 0."""
    luma = torch.from_numpy(real.level)[:, None, None, None].expand(-1, 1, SIDE, SIDE)
    drawn = (grain.draw(luma, seed) / grain.deviation)[:, 0].numpy()
    # As real ones are cut out: see `grain_patches`.
    return np.asarray(drawn - drawn.mean(axis=(1, 2), keepdims=True), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Sampler:
    """Batches of patches, turned, and the z and luma that go with them."""

    patches: Patches
    rng: np.random.Generator
    generator: torch.Generator

    def real(self) -> tuple[Tensor, Tensor]:
        """Grain (B, 1, SIDE, SIDE) and luma (B, 1, 1, 1)."""
        chosen = self.rng.integers(len(self.patches.grain), size=_BATCH)
        grain = torch.from_numpy(self.patches.grain[chosen])[:, None]
        if self.rng.random() < 0.5:
            grain = grain.flip(-1)
        if self.rng.random() < 0.5:
            grain = grain.flip(-2)
        return grain, torch.from_numpy(self.patches.level[chosen])[:, None, None, None]

    def latent(self) -> Tensor:
        side = SIDE + 2 * REACH
        return torch.randn(_BATCH, LATENT, side, side, generator=self.generator)


def _sampler(patches: Patches, settings: GrainSettings) -> _Sampler:
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    return _Sampler(patches, np.random.default_rng(settings.seed), generator)


def _wide(luma: Tensor) -> Tensor:
    side = SIDE + 2 * REACH
    return luma.expand(-1, 1, side, side)


def train_gan(
    patches: Patches,
    settings: GrainSettings,
    told: Callable[[float, float, float], None] | None = None,
) -> LearnedGrain:
    """G from z against D, and beside the game the power by frequency and by luma.

    `told` hears of each step: the losses of D and of G's game, and D's accuracy.
    """
    sampler = _sampler(patches, settings)
    net, judge = GrainNet(), PatchDiscriminator()
    adam = torch.optim.Adam(net.parameters(), lr=_RATE, betas=(0.5, 0.999))
    its_adam = torch.optim.Adam(judge.parameters(), lr=_RATE, betas=(0.5, 0.999))
    average = Average(net, 0.995)
    anchor = _Anchor(patches)
    for step in range(settings.steps):
        grain, luma = sampler.real()
        made = net(sampler.latent(), _wide(luma))
        made = made - made.mean(dim=(2, 3), keepdim=True)
        its_adam.zero_grad()
        logits = judge(torch.cat((grain, made.detach())), luma.repeat(2, 1, 1, 1)).chunk(2)
        lost = discriminator_loss(settings.form, *logits)
        lost.backward()
        its_adam.step()
        adam.zero_grad()
        played = generator_loss(settings.form, judge(made, luma))
        (played + settings.anchor * anchor(made, luma)).backward()
        adam.step()
        average.update(net, step)
        if told is not None:
            told(float(lost.detach()), float(played.detach()), accuracy(*logits))
    net.load_state_dict(average.weights)
    return LearnedGrain("gan", net.eval(), patches.deviation, patches.chroma)


class _Anchor:
    """How far the power of made patches is from that of real ones, by frequency and by luma."""

    def __init__(self, patches: Patches) -> None:
        grain = torch.from_numpy(patches.grain)[:, None]
        self._spectrum = _periodogram(grain)
        order = np.argsort(patches.level, kind="stable")
        groups = np.array_split(order, _GROUPS)
        self._edges = torch.tensor([float(patches.level[group[0]]) for group in groups[1:]])
        self._power = torch.tensor(
            [float(np.square(patches.grain[group]).mean()) for group in groups]
        )

    def __call__(self, made: Tensor, luma: Tensor) -> Tensor:
        spectrum = (_periodogram(made) / self._spectrum).log().square().mean()
        at = torch.bucketize(luma.flatten(), self._edges, right=True)
        power = made.square().mean(dim=(1, 2, 3))
        found = [
            (power[at == group].mean() / self._power[group]).log().square()
            for group in range(_GROUPS)
            if bool((at == group).any())
        ]
        return spectrum + torch.stack(found).mean()


def _periodogram(grain: Tensor) -> Tensor:
    """Mean power over rings of frequencies one cycle per patch wide, (SIDE / 2,)."""
    window = torch.hann_window(SIDE, periodic=False)
    power = torch.fft.fft2(grain * window * window[:, None]).abs().square().mean(dim=(0, 1))
    axis = torch.fft.fftfreq(SIDE)
    ring = (torch.hypot(axis[:, None], axis) * SIDE).round().long().clamp(max=SIDE // 2)
    sums = torch.zeros(SIDE // 2 + 1).index_add(0, ring.flatten(), power.flatten())
    counts = torch.bincount(ring.flatten(), minlength=SIDE // 2 + 1)
    mean: Tensor = sums / counts
    return mean[1:] + 1e-6


def elbo(grain: Tensor, mean: Tensor, deviation: Tensor, z: tuple[Tensor, Tensor]) -> Tensor:
    """The evidence lower bound, per sample of grain: E[log p(x | z)] - KL(q(z | x) || p(z)).

    p(x | z) is a Gaussian about the decoder's `mean`, q one of the encoder's `z`: mean and
    logarithm of the variance; p(z) is white (Kingma and Welling 2014, eq. 3 and appendix B).
    """
    likelihood = -0.5 * (
        ((grain - mean) / deviation).square() + 2.0 * deviation.log() + np.log(2.0 * np.pi)
    )
    about, logarithm = z
    divergence = 0.5 * (about.square() + logarithm.exp() - 1.0 - logarithm)
    bound: Tensor = likelihood.mean() - divergence.sum() / grain.numel()
    return bound


def train_vae(
    patches: Patches,
    settings: GrainSettings,
    told: Callable[[float], None] | None = None,
) -> LearnedGrain:
    """Encoder and decoder, by making the evidence lower bound large; the decoder is kept.

    What the decoder leaves open is drawn, too, as its likelihood says.
    """
    sampler = _sampler(patches, settings)
    net, encoder = GrainNet(), Encoder()
    open_ = nn.Parameter(torch.zeros(()))
    parameters = [*net.parameters(), *encoder.parameters(), open_]
    adam = torch.optim.Adam(parameters, lr=5.0 * _RATE)
    for _ in range(settings.steps):
        grain, luma = sampler.real()
        about, logarithm = encoder(grain, luma)
        z = about + (0.5 * logarithm).exp() * sampler.latent()
        deviation = open_.exp() * net.strength(luma)
        bound = elbo(grain, net(z, _wide(luma)), deviation, (about, logarithm))
        adam.zero_grad()
        (-bound).backward()
        adam.step()
        if told is not None:
            told(float(bound.detach()))
    residual = float(open_.detach().exp())
    return LearnedGrain("vae", net.eval(), patches.deviation, patches.chroma, residual)


def fit_regression(
    patches: Patches, settings: GrainSettings, told: Callable[..., None] | None = None
) -> LearnedGrain:
    """Least squares over all patches; nothing is drawn, and there are no steps to be told of."""
    del settings, told
    places = np.linspace(0.0, 1.0, LEVELS)
    power = np.square(patches.grain).mean(axis=(1, 2))
    curve = _curve(patches.level, power, places)
    even = patches.grain / np.interp(patches.level, places, curve)[:, None, None]
    inner = slice(LAG, SIDE - LAG)
    target = even[:, LAG:, inner].ravel()
    before = [
        (row, column)
        for row in range(LAG + 1)
        for column in range(2 * LAG + 1)
        if row < LAG or column < LAG
    ]
    columns = np.stack(
        [
            even[:, row : SIDE - LAG + row, column : SIDE - 2 * LAG + column].ravel()
            for row, column in before
        ]
    ).astype(np.float64)
    solved = np.linalg.solve(
        columns @ columns.T + 1e-6 * len(target) * np.eye(len(before)), columns @ target
    )
    weights = np.zeros((LAG + 1, 2 * LAG + 1))
    for (row, column), weight in zip(before, solved, strict=True):
        weights[row, column] = weight
    left = target - solved @ columns
    # Between the last two quantiles lie the rarest samples, and a straight line is no tail.
    quantiles = np.quantile(left, np.linspace(0.0, 1.0, QUANTILES).clip(0.001, 0.999))
    steps = np.diff(quantiles)
    drawn = np.square(quantiles[:-1]) + quantiles[:-1] * steps + np.square(steps) / 3.0
    quantiles *= np.sqrt(np.square(left).mean() / drawn.mean())
    model = Regression(*(torch.tensor(part).float() for part in (weights, quantiles, curve)))
    return LearnedGrain("autoregressive", model, patches.deviation, patches.chroma)


def _curve(level: FloatArray, power: FloatArray, places: Array) -> Array:
    """Deviation at each place: the mean of the patches around it, by nearness."""
    near = np.exp(-0.5 * ((level[None] - places[:, None]) / 0.05) ** 2) + 1e-9
    smooth = (near @ power) / near.sum(axis=1)
    # Where there were no patches, as at the nearest level where there were.
    inside = np.clip(places, level.min(), level.max())
    return np.asarray(np.sqrt(np.interp(inside, places, smooth)))


def against_truth(trials: list[Trial], truth: Patches, seed: int) -> list[Trial]:
    """The same models drawn at the levels of grain that is known, and how like that they are."""
    drawn = [draw_like(trial.grain, truth, seed) for trial in trials]
    return [
        Trial(trial.grain, compare(one, truth, trial.real), one, truth)
        for trial, one in zip(trials, drawn, strict=True)
    ]


def _octaves(found: Likeness) -> str:
    return " / ".join(f"{octave:+.2f}" for octave in found.octaves)


def table(trials: list[Trial]) -> str:
    """Markdown, a row for each model, the best first."""
    rows = [
        "| model | drawn over real, dB, by octave | histogram | by luma, dB | nearest | |",
        "|---|---|---|---|---|---|",
    ]
    for trial in trials:
        found = trial.likeness
        beyond = "" if found.keeps else "beyond its bounds"
        rows.append(
            f"| {trial.grain.kind} | {_octaves(found)} | {found.histogram:.3f} | "
            f"{found.luma:.2f} | {found.nearest:.3f} | {beyond} |"
        )
    return "\n".join(rows)
