"""HAMR: heatmaps and iterative regression of the hand model (Zhang et al., ICCV 2019)."""
