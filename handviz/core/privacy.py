"""Libraries that report their use to their makers are told not to, or cannot.

ONNX Runtime keeps a device id and events in the user's cache unless ``ORT_DISABLE_TELEMETRY`` is set before it is
imported. MediaPipe's uploader has no switch, but it is built on libcurl, which takes its proxy from the environment:
a proxy of a kind that does not exist lets it give up before it asks a name server or connects to anything.
"""

import os

NOWHERE = "nowhere://localhost"


def disable_onnx_telemetry() -> None:
    """Turn ONNX Runtime's telemetry off; call it before the first import of onnxruntime."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def disable_mediapipe_uploads() -> None:
    """Lead MediaPipe's uploads nowhere; call it before the first task is created.

    Only the C library's environment is changed, not ``os.environ``: Python's own libraries keep the user's proxy.
    Programs that are started later without an environment of their own inherit it.
    """
    os.putenv("https_proxy", NOWHERE)
    os.putenv("no_proxy", "")
    os.putenv("NO_PROXY", "")
