"""handviz: a hand in an image becomes a posed mesh with a standard deviation for every vertex."""

from handviz.core.privacy import disable_onnx_telemetry

__version__ = "0.1.0"
disable_onnx_telemetry()
