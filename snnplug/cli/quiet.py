"""What a run says on the way: nothing that its user can do nothing about."""

from __future__ import annotations

import logging
import warnings


def quieten() -> None:
    """Keep back what a user of a recipe can do nothing about."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended.*")
    warnings.filterwarnings("ignore", message="The dirpath has changed from.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    # Lightning's own way of gathering between processes.
    warnings.filterwarnings("ignore", message=".*distributed.nn.functional.all_gather is dep.*")
    warnings.filterwarnings("ignore", message=".*The number of training batches.*")
    # A hook that does nothing but for fsdp2.
    warnings.filterwarnings("ignore", message=".*model that overrides the configure_model.*")
    # Nothing behind a network changes what it returned.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor.*")
    # torch's own way of gathering a parted checkpoint.
    warnings.filterwarnings("ignore", message="`_get_pg_default_device` will be deprecated.*")
    warnings.filterwarnings("ignore", message="Multiple backends are registered with this.*")
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.trainer.connectors"):
        logging.getLogger(name).addFilter(_is_news)


# "Restoring states from the checkpoint path" comes before the last of these.
_NO_NEWS = ("Tip:", "TPU available: False", "Loaded model weights from the checkpoint")


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(text in message for text in _NO_NEWS)
