"""Training: one neutral loop over native steps, from one configuration."""

from tcnzoo.training.config import TrainConfig, load_config
from tcnzoo.training.outcome import Outcome
from tcnzoo.training.session import train

__all__ = ["Outcome", "TrainConfig", "load_config", "train"]
