"""Sources of frames: cameras, clips, folders, images."""
