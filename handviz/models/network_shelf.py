"""The variants' networks, loaded beside everything else and kept."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.core.paths import variant_file
from handviz.core.records import VariantName
from handviz.models.reconstructor import HandReconstructor, Reconstructor


class NetworkShelf:
    """One loading thread; every method may be called from any thread."""

    def __init__(self, model_dir: Path, template_fingerprint: str) -> None:
        self._model_dir, self._fingerprint = model_dir, template_fingerprint
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-network")
        self._networks: dict[VariantName, Future[HandReconstructor]] = {}

    def request(self, variant: VariantName) -> Future[HandReconstructor]:
        """The network or its loading; one that failed is tried again, for the file may have come."""
        with self._lock:
            known = self._networks.get(variant)
            if known is None or (known.done() and known.exception() is not None):
                known = self._networks[variant] = self._loader.submit(self._load, variant)
            return known

    def requested(self) -> Mapping[VariantName, Future[HandReconstructor]]:
        """All that were asked for so far, as they are now."""
        with self._lock:
            return dict(self._networks)

    def close(self) -> None:
        """End the loading."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _load(self, variant: VariantName) -> HandReconstructor:
        path = variant_file(variant, self._model_dir)
        network = Reconstructor(path, template_fingerprint=self._fingerprint)
        if network.variant != variant:
            raise HandvizError(f"{path} holds the variant {network.variant}, expected {variant}")
        return network
