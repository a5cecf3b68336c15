"""What is watched while a run goes on."""

import torch
from torch import Tensor

from handviz.core import metrics
from handviz.models.amvur.losses import in_crop
from handviz.models.amvur.model import HandModel
from handviz.training.samples import FromGiven, Samples, to_device


@torch.no_grad()
def validation_errors(model: HandModel, samples: Samples, regressor: Tensor) -> dict[str, float]:
    """PA-MPJPE and mean vertex error (mm, canonical), root of the mean variance (mm), mean 2D error (% of the crop).

    Hands whose 3D truth is nan count in the third alone; without any other the errors are nan.
    """
    model.eval()
    network = FromGiven(model)
    columns: dict[str, list[Tensor]] = {"pa": [], "error": [], "variance": [], "image": []}
    for ids in torch.arange(len(samples)).split(128):
        given, truth = (to_device(part, regressor.device) for part in samples.batch(ids))
        output = network(given)
        columns["variance"].append(output.log_variance.exp().sum(2).mean(1))
        mine, true = (regressor @ vertices for vertices in (output.mean_cm, truth.vertices_cm))
        known = torch.isfinite(true).all(dim=2).all(dim=1)
        columns["pa"].append(_aligned_errors_mm(mine[known], true[known]))
        columns["error"].append((output.mean_cm - truth.vertices_cm).norm(dim=2).mean(1)[known])
        camera = output.camera
        wanted = in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation)
        found = in_crop(output.mean_cm, camera.rotation, camera.scale, camera.translation)
        columns["image"].append((wanted - found)[..., :2].norm(dim=2).mean(1)[known])
    model.train()
    mean = {name: float(torch.cat(parts).mean()) for name, parts in columns.items()}
    return {
        "pa_mpjpe_mm": mean["pa"],
        "vertex_error_mm": mean["error"] * 10,
        "std_mm": mean["variance"] ** 0.5 * 10,
        "image_error_percent": mean["image"] * 50,
    }


def _aligned_errors_mm(mine_cm: Tensor, true_cm: Tensor) -> Tensor:
    """PA-MPJPE (B,) of keypoints (B, 21, 3), of none too."""
    if not len(mine_cm):
        return torch.empty(0, dtype=torch.float64)
    return torch.from_numpy(metrics.pa_mpjpe_mm(mine_cm.cpu().numpy(), true_cm.cpu().numpy()) * 0.01)
