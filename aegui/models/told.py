"""Model cards in words, for the window and the guide."""

from __future__ import annotations

from aegui.models.card import Card


def count_words(count: int) -> str:
    """1.0 M, 9.6 k, 512."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:  # 999,600 is 1.0 M, not 1000 k
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {unit}"
    return str(count)


def card_gain(card: Card) -> str:
    """“CT +0.4, MR +0.2 dB over BM3D”; nothing for models that were not scored."""
    baseline, gains = card.gains()
    if not gains:
        return ""
    found = ", ".join(
        # + 0.0: no gain is told as +0.0, not as −0.0
        f"{scans} " + f"{round(gain, 1) + 0.0:+.1f}".replace("-", "−")
        for scans, gain in gains.items()
    )
    return f"{found[:1].upper()}{found[1:]} dB over {baseline}"


def score_lines(card: Card) -> list[str]:
    """One line for each score, with what it is compared with."""
    lines = []
    for score in card.scores:
        arms = [f"{name} {value:.1f}" for name, value in score.others.items()]
        slices = f"{score.slices} slice" + "s" * (score.slices != 1)
        lines.append(f"{score.scans}, {score.noise}: {', '.join(arms)}, this model {score.psnr:.1f} dB ({slices})")
    return [*lines, f"Scored: {card.scored_by}"] if lines and card.scored_by else lines
