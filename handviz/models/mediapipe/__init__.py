"""MediaPipe's landmarks with the open hand fitted to them: a mesh from what the detector alone says of a hand."""
