"""Page "Several views": a rig of calibrated cameras, a pane for each, and the hand that all of them determine."""
