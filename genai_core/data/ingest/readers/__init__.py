"""One reader per kind of source, and the choice of the reader for a source."""
