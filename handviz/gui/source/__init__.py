"""Controls of the source: cameras, clips, folders, timeline."""
