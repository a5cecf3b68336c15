"""AMVUR (Jiang et al., CVPR 2023): prior-net, AMVUR, final."""
