"""Steps of the stage `prepare`: from raw images to a dataset."""
