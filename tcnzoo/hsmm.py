"""The public address of `tcnzoo.inference.hsmm`: hidden semi-Markov models, fitted and asked."""

from tcnzoo.inference.hsmm import *  # noqa: F403
from tcnzoo.inference.hsmm import __all__  # noqa: F401
