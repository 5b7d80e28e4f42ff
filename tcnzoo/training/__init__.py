"""Training: one neutral loop over native steps, from one configuration."""

from tcnzoo.training.config import TrainConfig, load_config
from tcnzoo.training.run import Outcome
from tcnzoo.training.running import train

__all__ = ["Outcome", "TrainConfig", "load_config", "train"]
