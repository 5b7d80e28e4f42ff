"""EEG recordings to events: reading, preprocessing, a detector, post-processing and scoring.

Needs the extra `eeg`: pip install 'tcnzoo[eeg]'.
"""

from tcnzoo.eeg.detector import Detector, Latency
from tcnzoo.eeg.events import Annotations, Event, read_events, write_events
from tcnzoo.eeg.parts import Detections, detect_parts, score_parts
from tcnzoo.eeg.pipeline import Detection, detect
from tcnzoo.eeg.postprocess import PostProcessing, PostProcessor, postprocess
from tcnzoo.eeg.preprocess import Preprocessing, prepare
from tcnzoo.eeg.recordings import Recording, read_parts, read_recording
from tcnzoo.eeg.scoring import Scored, Scores, best_within, score, sweep
from tcnzoo.eeg.taes import Taes, taes
from tcnzoo.eeg.windows import Windows
from tcnzoo.specs.montages import TEN_TWENTY

__all__ = [
    "TEN_TWENTY",
    "Annotations",
    "Detection",
    "Detections",
    "Detector",
    "Event",
    "Latency",
    "PostProcessing",
    "PostProcessor",
    "Preprocessing",
    "Recording",
    "Scored",
    "Scores",
    "Taes",
    "Windows",
    "best_within",
    "detect",
    "detect_parts",
    "postprocess",
    "prepare",
    "read_events",
    "read_parts",
    "read_recording",
    "score",
    "score_parts",
    "sweep",
    "taes",
    "write_events",
]
