"""What a read is judged by: who is responsible for which object, and how far off it is."""

from training.loss.criterion import DetectionLoss, LossTerms, build_loss

__all__ = ["DetectionLoss", "LossTerms", "build_loss"]
