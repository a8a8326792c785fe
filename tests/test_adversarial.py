"""The adversarial stage and the learned grain: both sides learn, and their failures are said."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training.__main__ import main
from training.adversarial import three_frames
from training.checkpoint import read_checkpoint
from training.collapse import CollapsedError, Watch
from training.config import FORMS, TrainConfig, load_config
from training.control import make_generator
from training.data import load_pool
from training.degrade.grain import Grain, draw_field
from training.degrade.grain_net import LATENT, GrainNet
from training.degrade.learned import add_learned, load_grain
from training.degrade.storage import Storage
from training.discriminator import (
    Discriminator,
    accuracy,
    discriminator_loss,
    generator_loss,
    high_pass,
)
from training.gradients import Inputs, Passage
from training.grain_compare import compare
from training.grain_film import Film, write_film
from training.grain_gan import (
    GrainSettings,
    PatchDiscriminator,
    draw_like,
    elbo,
    learn_grain,
    train_gan,
    train_vae,
)
from training.grain_patches import find_patches
from training.lanes import run_lane
from training.loop import train
from training.losses import excess_energy
from training.publish import Blend, mix
from training.texture import Texture, flat_error, flicker, table, texture_left
from vidrepair.frames import Picture, PixelFormat

TRUNK = Path(__file__).parents[1] / "training" / "trunks" / "fast.pt"


@pytest.fixture
def natural(config: TrainConfig) -> TrainConfig:
    """tiny.toml as the stage after fidelity."""
    return replace(config, stage="adversarial", start_from=str(TRUNK))


def read_log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_losses_are_the_formulas_of_the_game() -> None:
    real, fake = torch.tensor([[0.7, -1.3]]), torch.tensor([[0.2, 2.1]])
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    game = d_real.log().mean() + (1.0 - d_fake).log().mean()
    for form in ("minimax", "non-saturating"):
        assert torch.allclose(discriminator_loss(form, real, fake), -game)
    assert torch.allclose(generator_loss("minimax", fake), (1.0 - d_fake).log().mean())
    assert torch.allclose(generator_loss("non-saturating", fake), -d_fake.log().mean())
    hinge = (0.3 + 2.3 + 1.2 + 3.1) / 2
    assert float(discriminator_loss("hinge", real, fake)) == pytest.approx(hinge)
    assert float(generator_loss("hinge", fake)) == pytest.approx(-1.15)
    assert accuracy(real, fake) == 0.25


def test_where_the_discriminator_is_sure_minimax_has_no_slope_and_the_others_have() -> None:
    slopes = {}
    for form in FORMS:
        fake = torch.tensor([-12.0], requires_grad=True)
        generator_loss(form, fake).backward()  # type: ignore[no-untyped-call]
        assert fake.grad is not None
        slopes[form] = float(fake.grad)
    assert -1e-5 < slopes["minimax"] < 0.0
    assert slopes["non-saturating"] == pytest.approx(-1.0, abs=1e-4)
    assert slopes["hinge"] == -1.0


def test_the_discriminator_sees_detail_alone_and_the_noise_that_was_there() -> None:
    torch.manual_seed(0)
    model = Discriminator(width=8).eval()
    picture = torch.rand(2, 3, 32, 32)
    sigma = torch.tensor([10.0, 10.0]) / 255.0
    logits = model(picture, sigma)
    assert logits.shape == (2, 1, 8, 8)
    assert torch.allclose(model(picture + 0.25, sigma), logits, atol=1e-4)
    assert not torch.allclose(model(picture, 5.0 * sigma), logits, atol=1e-3)
    wave = torch.sin(2.0 * math.pi * torch.arange(128) / 64.0).expand(1, 1, 128, 128)
    assert high_pass(wave)[..., 20:-20].abs().max() < 0.03
    for layer in model.layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.6  # a few power iterations


def test_energy_is_bounded_by_the_measured_noise() -> None:
    allowed = torch.full((1, 1, 4, 4), 10.0 / 255.0)
    quiet = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 5.0 / 255.0
    assert float(excess_energy(quiet, allowed)) == 0.0
    assert float(excess_energy(8.0 * quiet, allowed)) > 5.0
    assert float(excess_energy(quiet, 0.0 * allowed)) > 5.0


@pytest.mark.parametrize("form", FORMS)
def test_both_sides_move(natural: TrainConfig, tmp_path: Path, form: str) -> None:
    config = replace(natural, adversarial=replace(natural.adversarial, form=form, width=8))
    assert train(config, tmp_path) == 4
    log = read_log(tmp_path)
    for side in ("d", "g"):
        assert len({line[side] for line in log}) == 4
    saved = read_checkpoint(tmp_path / "checkpoint.pt")
    before = read_checkpoint(TRUNK)["average"]
    moved = {name for name, value in saved["model"].items() if not torch.equal(value, before[name])}
    assert "restorer.denoise.weight" in moved
    assert not any(name.startswith("motion_net") for name in moved)
    assert {"model", "adam", "watch"} == set(saved["opponent"])
    torch.manual_seed(config.seed)
    make_generator(config.size, config.control)
    begun = Discriminator(width=8).state_dict()
    learned = saved["opponent"]["model"]
    # Spectral norm turns its vectors at every look: it is the weights that have to have moved.
    filters = [name for name in begun if name.endswith("original")]
    assert len(filters) == 4
    assert not any(torch.equal(begun[name], learned[name]) for name in filters)


@pytest.mark.parametrize("term", ["weight", "anchor", "lock", "bound"])
def test_every_term_of_the_loss_moves_the_generator(
    natural: TrainConfig, tmp_path: Path, term: str
) -> None:
    # Nothing may be added at all, or the first steps of a net that adds little would not meet it.
    game = replace(natural.adversarial, width=8, allowed=0.0)
    schedule = replace(natural.schedule, steps=1, warmup=1)
    weights = []
    for name, adversarial in (("all", game), ("without", replace(game, **{term: 0.0}))):
        train(replace(natural, adversarial=adversarial, schedule=schedule), tmp_path / name)
        saved = read_checkpoint(tmp_path / name / "checkpoint.pt")
        weights.append(saved["model"]["restorer.denoise.weight"])
    assert not torch.equal(*weights)


def test_the_discriminator_sees_frames_that_lie_on_one_another() -> None:
    """A picture that moves by four samples a frame stands still before it."""
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 1, 16, 32, generator=torch.Generator().manual_seed(3)), scale_factor=4.0
    )[0]
    frames = torch.stack([wide[..., 4 * t : 4 * t + 64] for t in range(5)])
    clean = frames[None].expand(1, 5, 3, 64, 64)
    motion = torch.zeros(1, 4, 16, 16)
    motion[:, 0], motion[:, 2] = 4.0, -4.0  # columns: back, then ahead
    whole = torch.zeros(1, 5, 3, 64, 64)
    inputs = Inputs(clean, clean, whole, torch.zeros(1, 2, 17), torch.ones(1), torch.zeros(1))
    errors = [torch.full((1, 3, 64, 64), 0.1 * t) for t in range(3)]
    real, fake = three_frames(
        Passage(torch.zeros(()), torch.zeros(1), errors, [motion] * 3), inputs
    )
    assert real.shape == fake.shape == (1, 3, 64, 64)
    inside = slice(12, -12)
    for outer in (0, 2):
        apart = (real[0, outer] - real[0, 1])[inside, inside].abs()
        assert float(apart.max()) < 1e-4
    torch.testing.assert_close((fake - real)[0, :, 32, 32], torch.tensor([0.0, 0.1, 0.2]))


def test_going_on_takes_the_rates_of_now_and_refuses_another_discriminator(
    natural: TrainConfig, tmp_path: Path
) -> None:
    short = replace(natural, schedule=replace(natural.schedule, steps=2, decay=0))
    train(short, tmp_path)
    slower = replace(natural.adversarial, rate=1e-7, beta1=0.0)
    train(replace(natural, adversarial=slower), tmp_path)
    saved = read_checkpoint(tmp_path / "checkpoint.pt")
    groups = [saved["opponent"]["adam"], saved["optimiser"]["adam"]]
    assert [state["param_groups"][0]["betas"] for state in groups] == [(0.0, 0.999)] * 2
    assert groups[0]["param_groups"][0]["lr"] == 1e-7
    other = replace(natural, adversarial=replace(natural.adversarial, width=8))
    with pytest.raises(ValueError, match="against a discriminator of width 32, not 8"):
        train(other, tmp_path)


def test_a_game_that_was_cut_off_ends_as_it_would_have(
    natural: TrainConfig, tmp_path: Path
) -> None:
    cut = replace(natural, schedule=replace(natural.schedule, steps=2, decay=0))
    whole = replace(natural, schedule=replace(natural.schedule, decay=0))
    train(whole, tmp_path / "once")
    train(cut, tmp_path / "twice")
    train(whole, tmp_path / "twice")
    once, twice = (read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("once", "twice"))
    for name, value in once["model"].items():
        assert torch.equal(value, twice["model"][name]), name
    for name, value in once["opponent"]["model"].items():
        assert torch.equal(value, twice["opponent"]["model"][name]), name
    assert once["opponent"]["watch"] == twice["opponent"]["watch"]


def test_a_discriminator_that_is_always_right_is_a_collapse() -> None:
    watch = Watch(3)
    power = np.ones(3)
    for _ in range(2):
        watch.see(1.0, power, power, loss=0.1)
    assert not watch.calm
    with pytest.raises(CollapsedError, match=r"right in 100\.0 % of cases"):
        watch.see(1.0, power, power, loss=0.1)


def test_a_training_that_collapses_stops_with_one_sentence(
    natural: TrainConfig, tmp_path: Path
) -> None:
    # Steps so long that G cannot but run away.
    adversarial = replace(natural.adversarial, patience=3, rate=0.05, width=8)
    schedule = replace(natural.schedule, steps=30, checkpoint_every=1, warmup=4)
    config = replace(natural, adversarial=adversarial, schedule=schedule)
    with pytest.raises(CollapsedError, match=r"collapsed: .*copy good\.pt"):
        train(config, tmp_path)
    good, last = (read_checkpoint(tmp_path / name) for name in ("good.pt", "checkpoint.pt"))
    assert 0 < good["progress"]["step"] <= last["progress"]["step"] < 30
    assert max(good["opponent"]["watch"]["excess"]) < 1.5
    hasty = replace(config, schedule=replace(schedule, checkpoint_every=30))
    with pytest.raises(
        CollapsedError, match=r"; start again in another folder, with a lower adversarial\.weight"
    ):
        train(hasty, tmp_path / "hasty")


@pytest.mark.parametrize(
    ("restored", "loss", "said"),
    [
        (np.array([1.0, 1.0, 4.0]), 0.1, "6.0 dB too much detail at 0.25 to 0.5"),
        (np.array([1.0, 1.0, 1.0]), math.nan, "not finite"),
    ],
)
def test_a_spectrum_that_runs_away_is_a_collapse(
    restored: np.ndarray, loss: float, said: str
) -> None:
    watch = Watch(1)
    with pytest.raises(CollapsedError, match=said):
        watch.see(0.6, restored, np.ones(3), loss=loss)


def test_detail_that_is_lost_on_the_way_is_a_collapse() -> None:
    watch = Watch(2)
    for _ in range(3):
        watch.see(0.6, np.ones(3), np.ones(3), loss=0.1)
    with pytest.raises(CollapsedError, match=r"detail at 0\.0625 to 0\.125 cycles per sample fell"):
        watch.see(0.6, np.array([0.01, 1.0, 1.0]), np.ones(3), loss=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stage=natural", "use fidelity or adversarial"),
        ("stage=adversarial", "needs start_from"),
        ("adversarial.form=wgan", "use minimax, non-saturating, hinge"),
        ("adversarial.weight=-1", "use 0 or more"),
        ("adversarial.lock=nan", "use 0 or more"),
        ("adversarial.rate=nan", "has to be above 0"),
        ("adversarial.patience=0", "use 1 or more"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(workplace: Path, change: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_config(workplace / "tiny.toml", (change,))


def test_a_blend_lies_between_fidelity_and_natural(natural: TrainConfig, tmp_path: Path) -> None:
    train(natural, tmp_path)
    path = tmp_path / "checkpoint.pt"
    end, start = (read_checkpoint(name)["average"] for name in (path, TRUNK))
    told = asdict(natural)
    for percent in (0.0, 40.0, 100.0):
        weights, words = mix(path, end, told, Blend(percent))
        assert words.startswith(f"blend {percent:g} % of trunks/fast.pt (0) and ")
        for key, value in weights.items():
            one, other = start[key].float(), end[key]
            assert torch.allclose(value, one + percent / 100.0 * (other - one), atol=1e-6), key
    assert any(not torch.equal(end[key], value.float()) for key, value in start.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--blend", "40", "--fidelity", str(TRUNK.with_name("base.pt"))], "different networks"),
        (["--blend", "140"], "140"),
        (["--fidelity", str(TRUNK)], "give --blend, too"),
        (["--blend", "40"], "trained from nothing"),
    ],
)
def test_a_blend_that_cannot_be_is_refused(
    config: TrainConfig, tmp_path: Path, options: list[str], said: str
) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    arguments = ["publish", str(tmp_path / "checkpoint.pt"), "--name", "b", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, "--training-data", "made up", *options])
    assert result.exit_code != 0
    assert said in result.output
    assert not list(tmp_path.glob("*.safetensors"))


def write_footage(
    path: Path,
    *,
    frames: int = 16,
    colour: bool = False,
    flat: bool = True,
    grainy: bool = True,
    size: tuple[int, int] = (160, 224),
) -> Path:
    """Gray or coloured film with grain that is blurred, and stronger where it is bright."""
    rows, columns = np.mgrid[0:160, 0:224]
    picture = 60.0 + 120.0 * columns / 224.0 + 10.0 * rows / 160.0
    rng = np.random.default_rng(1)
    if not flat:
        picture = picture + rng.normal(0.0, 20.0, picture.shape)
    like = torch.empty(frames, 1, 160, 224)
    grain = draw_field(Grain("blurred", 0.7), like, 5)[:, 0].numpy() * (2.0 + 4.0 * picture / 255.0)
    height, width = size
    luma = np.clip(np.round(picture + grainy * grain), 0, 255).astype(np.uint8)[:, :height, :width]
    chroma = np.full((frames, height // 2, width // 2), 128, dtype=np.uint8)
    if colour:
        chroma = (chroma + rng.integers(-9, 9, chroma.shape)).astype(np.uint8)
    form = PixelFormat("yuv420p", "yuv", 8, (2, 2))
    film = Film("footage", (luma, chroma, chroma), Picture(width, height, form, full_range=True))
    write_film(path, film)
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_footage(tmp_path_factory.mktemp("grain") / "film.mkv")


def test_grain_is_told_from_the_picture(footage: Path) -> None:
    patches = find_patches(footage)
    assert len(patches.grain) >= 400
    assert np.square(patches.grain).mean() == pytest.approx(1.0, abs=1e-3)
    # As it was given: 2 + 4 luma code values, at every level.
    bright = patches.level > np.median(patches.level)
    for part in (bright, ~bright):
        found = 255.0 * patches.deviation * np.sqrt(np.square(patches.grain[part]).mean())
        assert found == pytest.approx(2.0 + 4.0 * patches.level[part].mean(), rel=0.05)
    assert patches.chroma == 0.0


def test_both_sides_of_the_grain_game_move_and_the_bound_rises(footage: Path) -> None:
    patches = find_patches(footage)
    settings = GrainSettings(steps=25)
    game: list[tuple[float, float, float]] = []
    judges: list[PatchDiscriminator] = []

    def judge() -> PatchDiscriminator:
        judges.append(PatchDiscriminator())
        return judges[0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.grain_gan.PatchDiscriminator", judge)
        grain = train_gan(patches, settings, lambda *step: game.append(step))
    assert len({step[0] for step in game}) == len({step[1] for step in game}) == 25
    torch.manual_seed(settings.seed)
    for begun, ended in ((GrainNet(), grain.model), (PatchDiscriminator(), judges[0])):
        assert isinstance(ended, torch.nn.Module)
        after = dict(ended.named_parameters())
        assert not any(torch.equal(value, after[name]) for name, value in begun.named_parameters())
    bounds: list[float] = []
    train_vae(patches, settings, bounds.append)
    assert np.mean(bounds[-5:]) > np.mean(bounds[:5])


def test_the_lower_bound_is_that_of_two_gaussians() -> None:
    grain, mean, deviation = torch.tensor([1.0]), torch.tensor([0.5]), torch.tensor([2.0])
    about, logarithm = torch.tensor([0.3]), torch.tensor([-0.4])
    likelihood = torch.distributions.Normal(mean, deviation).log_prob(grain)
    posterior = torch.distributions.Normal(about, (0.5 * logarithm).exp())
    prior = torch.distributions.Normal(torch.zeros(1), torch.ones(1))
    divergence = torch.distributions.kl_divergence(posterior, prior)
    assert torch.allclose(elbo(grain, mean, deviation, (about, logarithm)), likelihood - divergence)


def test_the_command_keeps_a_model_that_keeps_the_spectrum(footage: Path, tmp_path: Path) -> None:
    out = tmp_path / "grain.safetensors"
    arguments = ["grain-gan", str(footage), "-o", str(out), "--steps", "2", "--gray"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert all(kind in result.output for kind in ("gan", "vae", "autoregressive"))
    grain = load_grain(out)
    # Two steps are none: the filter, which needs none, is best.
    assert grain.kind == "autoregressive"
    luma = torch.full((2, 1, 300, 420), 0.5)
    field = grain.draw(luma, 7)
    assert field.shape == luma.shape
    assert torch.equal(field, grain.draw(luma, 7))
    assert 255.0 * float(field.std()) == pytest.approx(4.0, rel=0.1)
    assert 255.0 * float(grain.draw(0.6 * luma, 7).std()) == pytest.approx(3.2, rel=0.1)


@pytest.mark.parametrize("kind", ["gan", "vae", "autoregressive"])
def test_drawn_grain_never_repeats(footage: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "grain.safetensors"
    trials, chosen = learn_grain(find_patches(footage), out, GrainSettings(steps=2), kind=kind)
    assert load_grain(out).kind == chosen.grain.kind == kind
    assert trials[0].grain.kind == "autoregressive"
    fields = load_grain(out).draw(torch.full((2, 1, 256, 256), 0.5), 3)[:, 0].double()
    spectra = torch.fft.fft2(fields - fields.mean(dim=(1, 2), keepdim=True))
    alike = [torch.fft.ifft2(spectra[0] * other.conj()).real for other in spectra]
    power = float(alike[0][0, 0])
    # Away from a sample's own neighbours a field is like itself, or the next, by chance alone.
    alike[0][:9, :9] = alike[0][-9:, :9] = alike[0][:9, -9:] = alike[0][-9:, -9:] = 0.0
    assert max(float(part.abs().max()) for part in alike) < 0.08 * power


def test_copies_and_a_wrong_spectrum_are_seen(footage: Path) -> None:
    patches = find_patches(footage)
    seen, real = patches.part(patches.area % 2 == 0), patches.part(patches.area % 2 == 1)
    assert compare(real.grain, real, seen).distance == 0.0
    count = len(real.grain)
    copies = np.resize(seen.grain, real.grain.shape)
    assert compare(copies, real, seen).nearest < 0.1
    white = np.random.default_rng(1).normal(size=(count, 32, 32)).astype(np.float32)
    found = compare(white, real, seen)
    assert not found.keeps
    assert found.octaves[2] > 2.0


def test_a_generator_that_ignores_z_is_not_kept(footage: Path) -> None:
    """So grain collapses: with one luma everywhere, nothing but z tells one place from another."""
    patches = find_patches(footage)
    grain = train_gan(patches, GrainSettings(steps=1))
    assert isinstance(grain.model, GrainNet)
    with torch.no_grad():
        grain.model.filter.weight.zero_()
        grain.model.layers[0].weight[:, :LATENT] = 0.0
    seen, real = patches.part(patches.area % 2 == 0), patches.part(patches.area % 2 == 1)
    likeness = compare(draw_like(grain, real, 1), real, seen)
    assert not likeness.keeps
    assert max(likeness.octaves) < -10.0


def test_learned_grain_is_mixed_into_training(
    config: TrainConfig, footage: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grain.safetensors"
    learn_grain(find_patches(footage), out, GrainSettings(steps=1), kind="gan")
    data = replace(config.data, grains=(str(out),), grain_share=1.0)
    assert train(replace(config, data=data), tmp_path / "run") == 4
    pool = load_pool(data, torch.device("cpu"))
    stretch = next(run_lane(pool, replace(config, data=data), 0))
    # Drawn between half and one and a half of what was found: 3 to 5 code values.
    assert 1.0 / 255.0 <= stretch.sigma < 8.0 / 255.0


def test_chroma_grain_follows_the_storage(footage: Path, tmp_path: Path) -> None:
    path = write_footage(tmp_path / "colour.mkv", colour=True)
    out = tmp_path / "grain.safetensors"
    learn_grain(find_patches(path), out, GrainSettings(steps=1), kind="autoregressive")
    grain = load_grain(out)
    assert grain.chroma > 0.5
    storage = Storage(sampling=(2, 2), bits=8, full_range=False)
    noisy, clean = add_learned(
        torch.full((2, 3, 64, 96), 0.5), grain, storage, strength=1.0, seed=1
    )
    noise = noisy - clean
    ratio = float(noise[:, 1:].std() / noise[:, 0].std())
    assert ratio == pytest.approx(grain.chroma, rel=0.25)
    assert torch.equal(noise[:, 1, ::2, ::2], noise[:, 1, 1::2, 1::2])


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ({"flat": False}, (), "patches of 32x32 samples that are flat, still and grainy"),
        ({"colour": True}, ("--gray",), "has colour; leave out --gray"),
        ({"grainy": False}, (), "for most flat areas have no grain; give the film as it was shot"),
        ({"size": (24, 64)}, (), "is 64x24; give footage of 32x32 samples or more"),
        ({"frames": 4, "size": (96, 64)}, (), "patches of 32x32 samples that are flat"),
        ({"frames": 1}, (), "has 1 frame; grain is told from the picture by what changes"),
        (None, (), "cannot be read as a video file"),
    ],
)
def test_footage_without_grain_to_learn_is_named(
    tmp_path: Path, made: dict[str, int] | None, options: tuple[str, ...], said: str
) -> None:
    path, out = tmp_path / "film.mkv", tmp_path / "grain.safetensors"
    if made is None:
        path.write_text("no film at all\n" * 99)
    else:
        write_footage(path, **made)
    result = CliRunner().invoke(main, ["grain-gan", str(path), "-o", str(out), *options])
    assert result.exit_code == 1
    assert f"{path}" in result.output
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not out.exists()


def test_a_file_that_is_no_learned_grain_is_named(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "grain.safetensors"
    with pytest.raises(ValueError, match="there is no"):
        load_grain(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is no learned grain; make one with grain-gan"):
        load_pool(replace(config.data, grains=(str(path),), grain_share=0.5), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"grain_share needs data\.grains"):
        replace(config.data, grain_share=0.5)


def test_every_line_that_the_docs_quote_stands_in_its_file() -> None:
    root = Path(__file__).parents[1]
    name, quoted, within = "", 0, False
    for line in (root / "docs" / "training.md").read_text().splitlines():
        if line.startswith("`training/") and line.endswith(".py`"):
            name = line.strip("`")
        if line.startswith("```"):
            within = line == "```python"
        elif within:
            assert line.strip() in (root / name).read_text(), f"{name}: {line}"
            quoted += 1
    assert quoted > 15


def test_texture_and_flicker_are_measured() -> None:
    generator = torch.Generator().manual_seed(1)
    still = 128.0 + 10.0 * torch.randn(64, 96, generator=generator).expand(4, 64, 96)
    assert texture_left(still, still) == (0.0, 0.0, 0.0)
    assert flicker(still, still) == 0.0
    half = 128.0 + 0.5 * (still - 128.0)
    assert texture_left(still, half) == pytest.approx((-6.02,) * 3, abs=0.3)
    # An error that stays is none of flicker's.
    assert flicker(still, still + 3.0) == 0.0
    noisy = still + torch.randn(4, 64, 96, generator=generator)
    assert flat_error(still, noisy) == pytest.approx(1.0, rel=0.05)
    assert flat_error(still, still + 3.0) == pytest.approx(0.0, abs=1e-4)
    assert flicker(still, noisy) == pytest.approx(2.0**0.5, rel=0.05)
    found = [
        Texture(name, "a", 30.0, 29.0, (-1.0, -2.0, -3.0), 0.7, 1.5) for name in ("one", "two")
    ]
    assert "| 30 | two | 29.00 | -1.00 | -2.00 | -3.00 | 0.70 | 1.50 |" in table(found)
