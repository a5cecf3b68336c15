"""The hand model that users bring themselves: MANO (Romero et al., 2017); its files are never shipped."""
