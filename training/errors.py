"""Errors of the training package."""

from spyv4.errors import SPYv4Error


class DatasetError(SPYv4Error):
    """The training or evaluation pictures, or their annotations, are missing or damaged."""


class NonFiniteLossError(SPYv4Error):
    """The loss became infinite or not a number; training cannot go on from here."""

    exit_code = 1


class OutOfMemoryError(SPYv4Error):
    """The device has too little memory for a batch, or the pictures."""

    exit_code = 1


class ProcessGoneError(SPYv4Error):
    """Another process of the run has died."""

    exit_code = 1


class DataWorkerError(SPYv4Error):
    """A process that prepares pictures has died."""

    exit_code = 1
