"""What composite operations of Keras consist of, written in `keras.ops`, one file a family.

An opening is traced in the operation's place, so its parts are lowered like a user's own and Keras's dtype and shape
rules hold for each of them. Importing this package registers them.
"""

from converters.openings import (  # noqa: F401
    decomposition,
    elementwise,
    image,
    linalg,
    lookup,
    loss,
    reduction,
    searching,
    shape,
    signal,
    transform,
)
