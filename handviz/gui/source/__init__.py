"""Controls of the source: cameras, clips, folders, the timeline."""
