"""Files that are converted to PNG while they are added: HEIC, DICOM, frames of animations and videos."""
