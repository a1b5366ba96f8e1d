"""Images as a person asks for them: mixed classes, given noise, a start image, a mask, walks between images."""
