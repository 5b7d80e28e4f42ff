"""`tcnzoo demo`: a checkpoint of pytorch-tcn in every backend, offline and streamed."""

from tcnzoo.demo.run import Check, DemoReport, check_installed, demo

__all__ = ["Check", "DemoReport", "check_installed", "demo"]
