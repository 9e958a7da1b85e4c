"""Encoders as ONNX and OpenVINO graphs, judged before they are written."""
