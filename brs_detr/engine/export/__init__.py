"""A trained model as a file of ONNX."""
