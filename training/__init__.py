"""From clean pictures to weights: data, degradations, losses, the loop, evaluation."""
