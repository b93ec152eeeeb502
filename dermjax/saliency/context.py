"""What the parts of a saliency command share: network, images, maps, folder, and a voice."""

import dataclasses
from collections.abc import Sequence

from etils import epath

from dermjax.saliency.explainer import Explainer
from dermjax.saliency.layer_statistics import LayerStatistics
from dermjax.saliency.map_store import Explained, Maps
from dermjax.saliency.settings import SaliencySettings
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class SaliencyContext:
    """One command at work."""

    settings: SaliencySettings
    explainer: Explainer
    explained: Sequence[Explained]
    maps: Maps
    statistics: LayerStatistics
    directory: epath.Path
    writer: Writer

    @property
    def methods(self) -> tuple[str, ...]:
        """The first is shown, all are compared."""
        return self.settings.methods
