"""The user's own MANO hand model (Romero et al., 2017); its files are never shipped."""
