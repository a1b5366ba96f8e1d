"""The model families, one file each behind one small protocol, and their saved form."""
