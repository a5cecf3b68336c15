"""SiMA-Hand: a single-view network that learns from a multi-view one (Wang et al., AAAI 2024)."""
