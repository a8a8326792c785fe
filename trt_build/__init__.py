"""Builds what the engines run: weights -> ONNX graphs -> compiled engines. Needs torch."""
