"""All that a backend must offer, and the records that pass between it and the floors above.

What learning needs is in ``contract.learning``: whoever only infers does not wait for its records.
"""

from pegasus.backends.contract.batch import BatchStream
from pegasus.backends.contract.inference import Backend, InferenceModel
from pegasus.spec.batch import IGNORED, PARTS, Batch

__all__ = ["IGNORED", "PARTS", "Backend", "Batch", "BatchStream", "InferenceModel"]
