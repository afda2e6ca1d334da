"""Every error that SPYv4 raises on purpose descends from `SPYv4Error`."""


class SPYv4Error(Exception):
    """Something the user can put right; its message is one line that says how."""


class ConfigError(SPYv4Error):
    """A configuration value or key is not valid."""


class ArgumentError(SPYv4Error, ValueError):
    """An argument of a public function or command is out of range."""


class StateShapeError(SPYv4Error):
    """A spiking state does not fit the network or the images it is used with."""


class CheckpointError(SPYv4Error):
    """A checkpoint is missing, damaged, or belongs to another model."""


class SaveError(CheckpointError):
    """A checkpoint cannot be written; the one before it is untouched."""

    exit_code = 1


class SpikeFileError(SPYv4Error):
    """A file of spikes is missing, damaged, or of another format."""


class TableError(SPYv4Error):
    """A table of detections is incomplete, damaged, or of another run."""


class ImageError(SPYv4Error):
    """A picture cannot be read, or is not a picture, or is too large."""


class RuntimeUnavailableError(SPYv4Error):
    """The requested way of running the network is not available on this machine."""
