"""The graph of an ONNX file: nodes as plain data, checked against the standard, and constants."""
