"""What is watched while a run goes on."""

import torch
from torch import Tensor

from handviz import metrics
from handviz.nets.model import HandModel
from handviz.train.losses import in_crop
from handviz.train.samples import FromGiven, Samples, to_device


@torch.no_grad()
def validation_errors(model: HandModel, samples: Samples, regressor: Tensor) -> dict[str, float]:
    """PA-MPJPE and mean vertex error (mm, canonical), root of the mean variance (mm), mean 2D error (% of the crop)."""
    model.eval()
    network = FromGiven(model)
    columns: dict[str, list[Tensor]] = {"pa": [], "error": [], "variance": [], "image": []}
    for ids in torch.arange(len(samples)).split(128):
        given, truth = (to_device(part, regressor.device) for part in samples.batch(ids))
        output = network(given)
        mine, true = (regressor @ vertices for vertices in (output.mean_cm, truth.vertices_cm))
        columns["pa"].append(torch.from_numpy(metrics.pa_mpjpe_mm(mine.cpu().numpy(), true.cpu().numpy()) * 0.01))
        columns["error"].append((output.mean_cm - truth.vertices_cm).norm(dim=2).mean(1))
        columns["variance"].append(output.log_variance.exp().sum(2).mean(1))
        camera = output.camera
        wanted = in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation)
        found = in_crop(output.mean_cm, camera.rotation, camera.scale, camera.translation)
        columns["image"].append((wanted - found)[..., :2].norm(dim=2).mean(1))
    model.train()
    mean = {name: float(torch.cat(parts).mean()) for name, parts in columns.items()}
    return {
        "pa_mpjpe_mm": mean["pa"],
        "vertex_error_mm": mean["error"] * 10,
        "std_mm": mean["variance"] ** 0.5 * 10,
        "image_error_percent": mean["image"] * 50,
    }
