"""Events of OpenSeizureDetector: files to datapoints, to runs without a gap, to windows."""
