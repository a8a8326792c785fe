"""The generator's contract: shapes, identities, reach, cost."""

from __future__ import annotations

import math

import pytest
import torch
from motion import hold_still
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vidrepair.engines.generator import (
    BASE,
    FAST,
    Generator,
    GeneratorShape,
    _disagreement,
    _trust,
    local_mean,
    noise_map,
)
from vidrepair.engines.layers import enlarge, warp

S = FAST.state_channels


@pytest.fixture(scope="module")
def generator() -> Generator:
    """`fast` with random weights: at its start it is the identity, which would prove nothing."""
    return random_generator(FAST)


def random_generator(shape: GeneratorShape) -> Generator:
    torch.manual_seed(0)
    generator = Generator(shape)
    with torch.no_grad():
        for weight in generator.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
    return generator.eval()


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def rising_noise(batch: int = 1) -> Tensor:
    """A profile that differs from level to level."""
    return torch.linspace(0.01, 0.2, 34).view(1, 2, 17).repeat(batch, 1, 1)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 16, 16), (2, 48, 80), (1, 80, 48)])
def test_outputs_have_the_shapes_of_the_contract(
    generator: Generator, batch: int, height: int, width: int
) -> None:
    frames = picture(batch, 3, 3, height, width)
    state = generator.initial_state(frames[:, 1])
    assert state.shape == (batch, S, height // 2, width // 2)
    assert not state.any()
    with torch.inference_mode():
        motion, aligned = generator.align(frames, state)
        denoise, fill, defect, after = generator.restore(frames[:, 1], aligned, rising_noise(batch))
    assert motion.shape == (batch, 4, height // 4, width // 4)
    assert aligned.shape == (batch, S + 12, height // 2, width // 2)
    assert denoise.shape == fill.shape == (batch, 3, height, width)
    assert defect.shape == (batch, 1, height, width)
    assert after.shape == state.shape
    assert all(x.dtype == torch.float32 for x in (motion, aligned, denoise, fill, defect, after))


def test_a_new_generator_changes_nothing() -> None:
    frames = picture(1, 3, 3, 32, 32)
    generator = Generator(FAST)
    hold_still(generator)
    with torch.inference_mode():
        denoise, fill, defect, _, motion = generator(
            frames, generator.initial_state(frames[:, 1]), rising_noise()
        )
    assert not denoise.any()
    assert not motion.any()
    mean = (frames[:, 0] + frames[:, 2]) / 2.0  # what it fills damage with, until it knows better
    torch.testing.assert_close(fill, mean, atol=1e-5, rtol=0.0)
    assert torch.allclose(defect, torch.sigmoid(torch.tensor(-4.0)))


def test_what_stands_in_a_hole_does_not_come_through() -> None:
    generator, frames = Generator(FAST), picture(2, 3, 32, 32)
    aligned = picture(1, S + 12, 16, 16)
    with torch.inference_mode():
        fills = [generator.restore(frame[None], aligned, rising_noise())[1] for frame in frames]
    torch.testing.assert_close(fills[0], fills[1], atol=1e-6, rtol=0.0)
    assert fills[0].std() > 0.1


def test_a_new_generator_follows_a_pan() -> None:
    """Lucas and Kanade's steps alone, before anything is trained."""
    x, y = torch.arange(336.0), torch.arange(288.0)[:, None]
    scene = torch.sin(x / 9.0) * torch.cos(y / 7.0) / 4.0 + torch.sin((x + y) / 17.0) / 4.0
    scene = scene.expand(1, 3, -1, -1)
    frames = torch.stack([scene[..., 8:264, left : left + 256] for left in (10, 16, 19)], dim=1)
    generator = Generator(FAST)
    state = generator.initial_state(frames[:, 1])
    with torch.inference_mode():
        motion = generator.align(frames, state)[0][..., 8:-8, 8:-8]
    expected = torch.tensor([6.0, 0.0, -3.0, 0.0])[:, None, None].expand_as(motion)
    assert (motion - expected).abs().median() < 0.25
    assert (motion - expected).abs().mean() < 0.5


def test_zero_noise_gives_zero_residual(generator: Generator) -> None:
    frames = picture(1, 3, 3, 48, 80)
    noise = rising_noise()
    noise[:, 0] = 0.0
    with torch.inference_mode():
        denoise = generator(frames, generator.initial_state(frames[:, 1]), noise)[0]
    assert not denoise[:, 0].any()
    assert denoise[:, 1:].any()  # each of luma and chroma has its own scale


def test_defect_is_a_probability(generator: Generator) -> None:
    frames = 40.0 * picture(1, 3, 3, 32, 32)  # far beyond the range, to drive the logits
    with torch.inference_mode():
        defect = generator(frames, generator.initial_state(frames[:, 1]), rising_noise())[2]
    assert defect.min() >= 0.0
    assert defect.max() <= 1.0
    assert defect.std() > 0.01


def test_autocast_leaves_motion_and_outputs_in_fp32(generator: Generator) -> None:
    frames = picture(1, 3, 3, 48, 48)
    state = picture(1, S, 24, 24)
    with torch.inference_mode():
        exact = generator.align(frames, state)
        with torch.autocast("cpu", torch.bfloat16):
            under = generator.align(frames, state)
            outputs = generator.restore(frames[:, 1], under[1], rising_noise())
    assert torch.equal(exact[0], under[0])
    assert torch.equal(exact[1], under[1])
    assert all(output.dtype == torch.float32 for output in outputs)


def test_a_neighbour_that_shows_another_thing_is_not_believed() -> None:
    noise = torch.full((1, 1, 24, 32), 0.02)
    both_noisy = (
        0.02 * 2**0.5 * torch.randn(1, 12, 24, 32, generator=torch.Generator().manual_seed(0))
    )
    trust = _trust(_disagreement(both_noisy, noise))
    assert trust.mean() > 0.9
    assert trust.max() == 1.0
    far_off = _trust(_disagreement(both_noisy + 0.4, noise))
    assert far_off.max() < 0.01
    assert _trust(_disagreement(both_noisy + 0.8, noise)).max() < 0.3 * far_off.min()


def test_a_sample_is_moved_by_four_deviations_at_most() -> None:
    generator = random_generator(FAST)
    with torch.no_grad():
        generator.restorer.denoise.weight.mul_(1e3)
    frames, noise = picture(1, 3, 3, 32, 48), torch.full((1, 2, 17), 0.01)
    with torch.inference_mode():
        denoise, *_ = generator(frames, generator.initial_state(frames[:, 1]), noise)
    torch.testing.assert_close(denoise.abs().max(), torch.tensor(0.04))


def test_lanes_of_a_batch_do_not_see_each_other(generator: Generator) -> None:
    frames, state, noise = picture(2, 3, 3, 32, 48), picture(2, S, 16, 24), rising_noise(2)
    others = (frames.clone(), state.clone(), noise.clone())
    for tensor in others:
        tensor[0] *= 0.5
    with torch.inference_mode():
        one = generator(frames, state, noise)
        other = generator(*others)
    for before, after in zip(one, other, strict=True):
        assert torch.equal(before[1], after[1])
        assert not torch.equal(before[0], after[0])


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_warp_enlarges_its_motion_bilinearly(factor: int, mode: str) -> None:
    rng = torch.Generator().manual_seed(4)
    motion = 5.0 * torch.rand(2, 2, 6, 9, generator=rng) - 2.5
    source = torch.rand(2, 3, 6 * factor, 9 * factor, generator=rng)
    expected = warp(source, enlarge(motion, factor), mode=mode)
    found = warp(source, motion, factor, mode)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)


def test_warp_takes_x_then_y_in_pixels_and_repeats_the_border() -> None:
    source = torch.arange(48.0).view(1, 1, 6, 8)
    motion = torch.zeros(1, 2, 6, 8)
    motion[:, 0] = 2.0
    motion[:, 1] = -1.0
    expected = source[:, :, [0, 0, 1, 2, 3, 4]][..., [2, 3, 4, 5, 6, 7, 7, 7]]
    torch.testing.assert_close(warp(source, motion), expected, atol=1e-4, rtol=0.0)
    half = warp(source, torch.full((1, 2, 6, 8), 0.5))
    assert half[0, 0, 2, 3].item() == pytest.approx(source[0, 0, 2, 3].item() + 4.5, abs=1e-4)


def test_motion_aligns_both_neighbours_at_full_size() -> None:
    """With a constant displacement put in, `aligned` holds the shifted pictures, unshuffled."""
    generator = Generator(FAST)
    hold_still(generator)
    last = generator.motion_net.nets[-1][-1].bias  # type: ignore[index, union-attr]
    with torch.no_grad():
        last.copy_(torch.tensor([5.0, 0.0, 0.0]))  # type: ignore[operator, union-attr]
    frames = picture(1, 3, 3, 32, 64)
    state = picture(1, S, 16, 32, seed=1)
    with torch.inference_mode():
        motion, aligned = generator.align(frames, state)
    assert torch.all(motion[:, [0, 2]] == 5.0)
    assert not motion[:, [1, 3]].any()
    shuffle = torch.nn.functional.pixel_shuffle
    restored = frames[:, 0] + shuffle(state[:, :12], 2)
    for moved, still in ((aligned[:, :12], restored), (aligned[:, -12:], frames[:, 2])):
        torch.testing.assert_close(shuffle(moved, 2)[..., :-5], still[..., 5:], atol=1e-5, rtol=0.0)


def test_the_memory_is_of_the_repaired_picture_and_bounded(generator: Generator) -> None:
    frame = picture(1, 3, 32, 48)
    with torch.inference_mode():
        aligned = 100.0 * picture(1, S + 12, 16, 24, seed=1)
        denoise, fill, defect, state = generator.restore(frame, aligned, rising_noise())
    memory = torch.nn.functional.pixel_shuffle(state[:, :12], 2)
    expected = torch.lerp(denoise, fill - frame, defect)
    torch.testing.assert_close(memory, expected, atol=1e-5, rtol=0.0)
    # Four deviations, the largest being 0.2: whatever comes in, no span can run away.
    assert denoise.abs().max() <= 4.0 * 0.2
    assert (fill - frame).abs().max() <= 1.0 + 1e-5
    assert state[:, 12:].abs().max() <= 8.0


def test_noise_map_follows_smoothed_luma() -> None:
    frame = torch.zeros(1, 3, 32, 64)
    frame[:, 0, :, 32:] = 1.0
    noise = torch.zeros(1, 2, 17)
    noise[0, 0, 0], noise[0, 0, 16], noise[0, 1, 8] = 0.1, 0.3, 0.2
    levels = noise_map(noise, local_mean(frame)[:, :1])
    assert levels.shape == (1, 2, 8, 16)
    assert levels[0, 0, :, 0].allclose(torch.tensor(0.1))
    assert levels[0, 0, :, -1].allclose(torch.tensor(0.3))
    assert not levels[0, 1, :, 0].any()
    grain = (torch.rand(1, 3, 32, 64) - 0.5) * 0.4 + 0.5
    straight = torch.linspace(0.0, 0.16, 17).expand(1, 2, 17)
    # The level is read where the picture is, not where its noise is.
    read = noise_map(straight, local_mean(grain)[:, :1])
    assert read.std() < 0.2 * (0.16 * grain[:, 0]).std()


@pytest.mark.parametrize("left", [0, 176, 384])
def test_a_tile_with_its_halo_equals_the_whole(generator: Generator, left: int) -> None:
    width, height, side, halo = 416, 96, 32, FAST.halo
    frame = picture(1, 3, height, width)
    aligned = picture(1, S + 12, height // 2, width // 2, seed=1)
    start, end = max(0, left - halo), min(width, left + side + halo)
    with torch.inference_mode():
        whole = generator.restore(frame, aligned, rising_noise())
        part = generator.restore(
            frame[..., start:end], aligned[..., start // 2 : end // 2], rising_noise()
        )
    for all_of_it, tile, scale in zip(whole, part, (1, 1, 1, 2), strict=True):
        inside = (left - start) // scale
        expected = all_of_it[..., left // scale : (left + side) // scale]
        got = tile[..., inside : inside + side // scale]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0.0)


def test_the_halo_is_the_reach(generator: Generator) -> None:
    """What a column of the outputs depends on, measured by its gradient."""
    column, width = 208, 416
    frame = picture(1, 3, 16, width).requires_grad_()
    aligned = picture(1, S + 12, 8, width // 2).requires_grad_()
    outputs = generator.restore(frame, aligned, rising_noise())
    sum(
        output[..., column // scale].abs().sum()
        for output, scale in zip(outputs, (1, 1, 1, 2), strict=True)
    ).backward()  # type: ignore[union-attr]
    assert frame.grad is not None
    assert aligned.grad is not None
    seen = aligned.grad.abs().amax((0, 1, 2)).nonzero()
    assert column - 2 * int(seen.min()) == 64
    assert 2 * int(seen.max()) + 1 - column < FAST.halo == 64
    by_frame = frame.grad.abs().amax((0, 1, 2))
    assert int(column - by_frame.nonzero().min()) == 68  # by way of the noise map
    assert by_frame[: column - FAST.halo].max() < 1e-6 * by_frame.max()


@pytest.mark.parametrize(("shape", "gflop", "parameters"), [(FAST, 28.0, 0.7), (BASE, 75.0, 2.5)])
def test_the_cost_is_what_is_said_of_it(
    shape: GeneratorShape, gflop: float, parameters: float
) -> None:
    with torch.device("meta"):
        generator = Generator(shape)
        frames = torch.empty(1, 3, 3, 480, 864)
        noise = torch.empty(1, 2, 17)
        state = generator.initial_state(frames[:, 1])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        generator.restore(
            frames[:, 1], torch.empty(1, state.shape[1] + 12, 240, 432, device="meta"), noise
        )
        generator.motion_net(*(torch.empty(2, 1, 480, 864, device="meta"),) * 2)
    cost = counter.get_total_flops() * 854 / 864 / 1e9
    assert 0.7 * gflop < cost <= gflop
    millions = sum(math.prod(weight.shape) for weight in generator.parameters()) / 1e6
    assert 0.7 * parameters < millions <= parameters


def test_widths_that_are_no_multiple_of_8_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        GeneratorShape(widths=(20, 48, 96))
