"""One training on several machines: the first one runs the stage, the others run its command beside it."""
